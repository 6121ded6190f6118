package mutants

// typeMutations are faults of values and their types, by the edge cases that they bring back.
var typeMutations = []mutation{
	{
		name: "types: a row without columns is never complete", edge: 50, pkg: source, test: "TestEdge50ManyColumnsAndNone",
		edits: []edit{{"cdc/postgres/copydata.go", "	if end == 0 || err != nil {", "	if end <= 2 || err != nil {"}},
	},
	{
		name: "types: a row has few columns", edge: 50, pkg: source, test: "TestEdge50ManyColumnsAndNone",
		edits: []edit{{"cdc/postgres/copydata.go", "	fields := int(int16(binary.BigEndian.Uint16(data)))\n", "	fields := int(int8(data[1]))\n"}},
	},
	{
		name: "types: floats are printed with 15 digits", edge: 51, pkg: source, test: "TestEdge51CopyEqualsTheServersText",
		edits: []edit{{"cdc/postgres/conn.go", "\"extra_float_digits\":                  \"3\"", "\"extra_float_digits\":                  \"0\""}},
	},
	{
		name: "types: the session's style of intervals is used", edge: 51, pkg: source, test: "TestEdge51CopyEqualsTheServersText",
		edits: []edit{{"cdc/postgres/conn.go", "\"IntervalStyle\":                       \"postgres\"", "\"IntervalStyle\":                       \"iso_8601\""}},
	},
	{
		name: "types: numerics without a precision are decimals", edge: 52, pkg: source, test: "TestEdge52NumericModifiers", sample: true,
		edits: []edit{{"cdc/postgres/resolve.go", "	if typmod < 4 {\n		return 0, 0, false\n", "	if typmod < 4 {\n		return 38, 10, true\n"}},
	},
	{
		name: "types: numerics have no more than 38 digits", edge: 52, pkg: source, test: "TestEdge52NumericModifiers",
		edits: []edit{{"cdc/postgres/resolve.go", "		if !ok || p > maxDecimalPrecision || s < 0 || s > p {", "		p = min(p, maxDecimalPrecision)\n		if !ok || s < 0 || s > p {"}},
	},
	{
		name: "types: digits beyond the scale are cut off", edge: 52, pkg: source, test: "TestEdge52NumericTextIsBinary",
		edits: []edit{
			{"cdc/postgres/values_numeric.go", "		if g%cut != 0 {\n", "		if false {\n"},
			{"cdc/postgres/values_numeric.go", "			fits = d == 0\n", ""},
		},
	},
	{
		name: "types: NaN is nought", edge: 52, pkg: source, test: "TestEdge52NumericTextIsBinary",
		edits: []edit{
			{"cdc/postgres/values_numeric.go", "	if x.sign != numericPos && x.sign != numericNeg {\n		return u, false\n", "	if x.sign != numericPos && x.sign != numericNeg {\n		return u, true\n"},
			{"cdc/postgres/values_numeric.go", "		return false, u, false, nil\n", "		return false, u, true, nil\n"},
		},
	},
	{
		name: "types: decimals that are too large wrap", edge: 52, pkg: source, test: "TestEdge52NumericTextIsBinary",
		edits: []edit{{"cdc/postgres/values_numeric.go", "	if !u.less(pow10[c.precision]) {\n", "	if false {\n"}},
	},
	{
		name: "types: NaN is clamped to nought", edge: 52, pkg: source, test: "TestEdge52Clamp",
		edits: []edit{{"cdc/postgres/values_clamp.go", "		c.setNull(row)\n", "		c.putDecimal(row, false, uint128{})\n"}},
	},
	{
		name: "types: timestamps that are too late wrap", edge: 53, pkg: source, test: "TestEdge53TimeTextIsBinary",
		edits: []edit{{"cdc/postgres/values_time.go", "	if micros < minMicros || micros > maxMicros || pg == math.MaxInt64 {\n", "	if false {\n"}},
	},
	{
		name: "types: years before the first count forward", edge: 53, pkg: source, test: "TestEdge53TimeTextIsBinary",
		edits: []edit{{"cdc/postgres/values_time.go", "	if bc {\n		y = 1 - y\n	}\n	return daysFromCivil", "	if bc {\n		y += 0\n	}\n	return daysFromCivil"}},
	},
	{
		name: "types: infinity is the last day", edge: 53, pkg: source, test: "TestEdge53PoliciesOfColumns",
		edits: []edit{{"cdc/postgres/values_time.go", "	if day < minDay || day > maxDay {\n		if c.policy != PolicyClamp {", "	if day < minDay || day > maxDay {\n		if false {"}},
	},
	{
		name: "types: a value that its column cannot hold is gone over", edge: 53, pkg: engine, test: "TestEdge53FaultsStopTheirTable",
		edits: []edit{{"lakehouse/errors.go", "	f := b.Fault(from)\n	if f == nil {\n", "	f := b.Fault(from)\n	if f == nil || true {\n"}},
	},
	{
		name: "types: any fields are taken for those of a composite", edge: 54, pkg: source, test: "TestEdge54CompositeOfAnotherShape",
		edits: []edit{{"cdc/postgres/values_nested.go", "		if binary.BigEndian.Uint32(rest) != c.parts[i].oid {", "		if false {"}},
	},
	{
		name: "types: composites are looked up once", edge: 54, pkg: source, test: "TestEdge54CompositesThatAreAltered",
		edits: []edit{{"cdc/postgres/typecache.go", "	if t.Kind == 'c' {\n		return true\n	}\n	for _, in", "	if t.Kind == 'c' {\n		return false\n	}\n	for _, in"}},
	},
	{
		name: "types: a composite is known by the number of its fields", edge: 54, pkg: columns, test: "TestEdge54AnAlteredCompositeIsAChange",
		edits: []edit{{"lakehouse/typemap/evolve.go", " || shapeOf(was) != c.Shape:", ":"}},
	},
	{
		name: "types: types that come later are not asked for", edge: 54, pkg: source, test: "TestEdge54TypesThatComeAndGoWhileStreaming",
		edits: []edit{{"cdc/postgres/typecache.go", "	if len(ask) > 0 {\n", "	if len(ask) > 0 && len(c.types) == 0 {\n"}},
	},
	{
		name: "types: arrays of two dimensions are laid flat", edge: 55, pkg: source, test: "TestEdge55ArraysTextIsBinary",
		edits: []edit{{"cdc/postgres/values_array.go", "a.ndims == 0 || a.ndims == 1 && a.dims[0].lower == 1 }", "true }"}},
	},
	{
		name: "types: bounds of arrays are left out", edge: 55, pkg: source, test: "TestEdge55ArraysTextIsBinary",
		edits: []edit{{"cdc/postgres/values_array.go", "		shifted = shifted || d.lower != 1\n", "		_ = d\n"}},
	},
	{
		name: "types: the text NULL is no element", edge: 55, pkg: source, test: "TestEdge55WhatAListHolds",
		edits: []edit{{"cdc/postgres/values_nested_text.go", "		null := !quoted && string(elem) == \"NULL\"\n", "		null := (quoted || !quoted) && string(elem) == \"NULL\"\n"}},
	},
	{
		name: "types: elements that were taken back stay", edge: 55, pkg: source, test: "TestEdge55NestedNullsAndGrowth",
		edits: []edit{{"cdc/postgres/column.go", "		k.n, k.used, k.nulls = k.marked.n, k.marked.used, k.marked.nulls\n", ""}},
	},
	{
		name: "types: text need not be UTF-8", edge: 56, pkg: source, test: "TestEdge56InvalidUTF8IsRefused",
		edits: []edit{{"cdc/postgres/values.go", "	if !utf8.Valid(v) {\n", "	if false {\n"}},
	},
	{
		name: "types: text that is kept as it is need not be UTF-8", edge: 56, pkg: source, test: "TestEdge56InvalidUTF8IsRefused",
		edits: []edit{{"cdc/postgres/values_text.go", "		if utf8.Valid(v) {\n", "		if utf8.Valid(v) || true {\n"}},
	},
	{
		name: "types: room for huge values is doubled", edge: 56, pkg: source, test: "TestEdge56HugeValuesAreNotCopiedAbout",
		edits: []edit{{"cdc/postgres/column.go", "	if need < largeData {\n", "	if true {\n"}},
	},
}

func init() { mutations = append(mutations, typeMutations...) }
