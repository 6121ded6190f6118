package lakehouse

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// Bounds of a comparison. Of the smaller side so many keys are held at a time,
// with a hash of each row; both sides are read once for each such part. Where
// that would be too often, as in a transaction of tens of millions of rows, rows
// are not brought together: all old ones are told as deleted, all new ones as
// inserted.
const (
	feedKeysMost   = 1 << 18
	feedRoundsMost = 64
)

// feedDiff tells the difference of two sides. A key's row on both is an update,
// and no change where the two are equal; rows without a key are one another's
// copies if they are equal, and else deleted and inserted. So equal rows that
// were only moved are not told.
type feedDiff struct {
	m        *mirrorWriter
	out      *stager
	keys     []string // none: rows have no key
	hasExact bool
	equal    bool // rows that are the same on both sides are told as updates
	keyHash  keyHasher
	rowHash  rowHasher
	types    map[string]arrow.Array // of what happened, many times

	rounds, round uint64
	held          map[keyindex.Hash]*feedKey

	hashes, rows []keyindex.Hash // of the batch at hand
}

// feedKey is a key of the side that is held.
type feedKey struct {
	row   keyindex.Hash // a hash of its row
	left  int           // rows that are not told yet; more than one where rows have no key
	state feedState
}

// feedState is what the other side has of a key.
type feedState byte

const (
	feedAlone   feedState = iota // nothing
	feedChanged                  // another row
	feedEqual                    // the same row
)

func (m *mirrorWriter) newFeedDiff(ctx context.Context) *feedDiff {
	hasher := newHasher(m.snap.Metadata())
	d := &feedDiff{m: m, hasExact: m.schema.Index(typemap.Exact) >= 0, out: m.newFeedStager(ctx), types: map[string]arrow.Array{}}
	d.keyHash.hasher, d.rowHash.hasher = hasher, hasher
	if !m.bag {
		d.keys = m.key
	}
	return d
}

// diffFeed writes the difference of the rows that go and those that come. Where rows
// have ids that stay (Row Tracking), a commit that says that rows have only moved has
// to carry the ids, which the mirror does not: tracked has equal rows told as updates
// where there is no other change, so that the commit is one of changes.
func (m *mirrorWriter) diffFeed(ctx context.Context, old, now *feedSide, tracked bool) ([]tablefmt.CDCFile, error) {
	files, err := m.feedOf(ctx, old, now, false)
	if err != nil || !tracked || len(files) > 0 {
		return files, err
	}
	return m.feedOf(ctx, old, now, true)
}

func (m *mirrorWriter) feedOf(ctx context.Context, old, now *feedSide, equal bool) ([]tablefmt.CDCFile, error) {
	d := m.newFeedDiff(ctx)
	d.equal = equal
	defer d.close()
	if err := d.run(ctx, old, now, feedKeysMost, feedRoundsMost); err != nil {
		return nil, err
	}
	if err := d.out.finish(); err != nil {
		return nil, err
	}
	files := make([]tablefmt.CDCFile, len(d.out.done))
	for i, f := range d.out.done {
		files[i] = f.add.CDC()
	}
	return files, nil
}

func (d *feedDiff) close() {
	d.out.abort()
	for _, t := range d.types {
		t.Release()
	}
}

// run compares both sides, holding at most most keys at a time.
func (d *feedDiff) run(ctx context.Context, old, now *feedSide, most, rounds int64) error {
	few, many := feedEnd{now, tablefmt.ChangeInsert, tablefmt.ChangePostimage}, feedEnd{old, tablefmt.ChangeDelete, tablefmt.ChangePreimage}
	if old.rows < now.rows {
		few, many = many, few
	}
	n := (few.rows + most - 1) / most
	if n == 0 || n > rounds {
		for _, end := range []feedEnd{many, few} {
			err := end.each(ctx, func(rec arrow.RecordBatch, _ []int32) error {
				return d.tell(rec, rowsFrom(0, int(rec.NumRows())), end.alone)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	d.rounds = uint64(n)
	for d.round = range d.rounds {
		d.held = make(map[keyindex.Hash]*feedKey, min(few.rows, most))
		if err := few.each(ctx, d.hold); err != nil {
			return err
		}
		for _, half := range []struct {
			end   feedEnd
			state func(h, row keyindex.Hash) feedState
		}{{many, d.other}, {few, d.mine}} {
			err := half.end.each(ctx, func(rec arrow.RecordBatch, lost []int32) error { return d.judge(rec, lost, half.end, half.state) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// feedEnd is a side, and what happened to rows of it: to those of which the other
// side has nothing, and to those of which it has another image.
type feedEnd struct {
	*feedSide
	alone, image string
}

// hold holds the keys of rows that are of the round.
func (d *feedDiff) hold(rec arrow.RecordBatch, lost []int32) error {
	if err := d.hash(rec, lost); err != nil {
		return err
	}
	for i, h := range d.hashes {
		if !d.turn(h) {
			continue
		}
		k := d.held[h]
		if k == nil {
			k = &feedKey{row: d.rows[i]}
			d.held[h] = k
		}
		k.left++
	}
	return nil
}

// turn reports whether a key is of the round.
func (d *feedDiff) turn(h keyindex.Hash) bool {
	return (uint64(h[0])|uint64(h[1])<<8|uint64(h[2])<<16)%d.rounds == d.round
}

// other says of a row of the side that is not held what the other one has of it.
func (d *feedDiff) other(h, row keyindex.Hash) feedState {
	k := d.held[h]
	if k == nil {
		return feedAlone
	}
	if len(d.keys) == 0 { // it is equal to each of those that are held
		if k.left == 0 {
			return feedAlone
		}
		k.left--
		return feedEqual
	}
	if k.state != feedAlone { // a key is twice in the table, which a repair mends
		return feedAlone
	}
	if k.state = feedChanged; k.row == row {
		k.state = feedEqual
	}
	return k.state
}

// mine says the same of a row of the side that is held.
func (d *feedDiff) mine(h, row keyindex.Hash) feedState {
	k := d.held[h]
	if len(d.keys) == 0 {
		if k.left == 0 {
			return feedEqual
		}
		k.left--
		return feedAlone
	}
	state := k.state
	if state == feedAlone || k.row != row {
		return feedAlone
	}
	k.state = feedAlone // one more of the key has no image on the other side
	return state
}

// judge tells rows of the round.
func (d *feedDiff) judge(rec arrow.RecordBatch, lost []int32, end feedEnd, state func(h, row keyindex.Hash) feedState) error {
	if err := d.hash(rec, lost); err != nil {
		return err
	}
	var alone, image []int32
	for i, h := range d.hashes {
		if !d.turn(h) {
			continue
		}
		switch state(h, d.rows[i]) {
		case feedAlone:
			alone = append(alone, int32(i))
		case feedChanged:
			image = append(image, int32(i))
		case feedEqual:
			if d.equal {
				image = append(image, int32(i))
			}
		}
	}
	if err := d.tell(rec, alone, end.alone); err != nil {
		return err
	}
	return d.tell(rec, image, end.image)
}

// hash sets the hashes of rows, and of their keys. Those of rows that have lost
// a value are no other side's.
func (d *feedDiff) hash(rec arrow.RecordBatch, lost []int32) error {
	n := int(rec.NumRows())
	names := make([]string, rec.NumCols())
	for i := range names {
		names[i] = rec.ColumnName(i)
	}
	d.rows = slices.Grow(d.rows[:0], n)[:n]
	if err := d.rowHash.hashRows(names, rec.Columns(), nil, 0, d.rows); err != nil {
		return err
	}
	for _, i := range lost {
		d.rows[i] = lostRow(d.rows[i])
	}
	if len(d.keys) == 0 {
		d.hashes = d.rows
		return nil
	}
	d.hashes = slices.Grow(d.hashes[:0], n)[:n]
	cols, exact := storedKey(rec, d.keys, d.hasExact)
	return d.keyHash.hashRows(cols, exact, 0, d.hashes)
}

// lostRow is the hash of a row that has lost a value: of a row without one no
// other row's.
func lostRow(h keyindex.Hash) keyindex.Hash {
	h[0] ^= 0xff
	return h
}

// tell writes what happened to some rows.
func (d *feedDiff) tell(rec arrow.RecordBatch, rows []int32, what string) error {
	if len(rows) == 0 {
		return nil
	}
	n := int(rec.NumRows())
	types := d.types[what]
	if types == nil || types.Len() < n {
		if types != nil {
			types.Release()
		}
		types = buildStrings(n, func(int) string { return what })
		d.types[what] = types
	}
	part := array.NewSlice(types, 0, int64(n))
	defer part.Release()
	all := array.NewRecordBatch(d.out.t.arrow, append(slices.Clone(rec.Columns()), part), rec.NumRows())
	defer all.Release()
	return d.out.write(all, rows, anywhere)
}

// newFeedStager stages rows of the table with what happened to them, as cdc
// files.
func (m *mirrorWriter) newFeedStager(ctx context.Context) *stager {
	what := arrow.Field{Name: tablefmt.ColChangeType, Type: arrow.BinaryTypes.String, Nullable: true}
	with := func(s *arrow.Schema) *arrow.Schema {
		return arrow.NewSchema(append(slices.Clone(s.Fields()), what), nil)
	}
	t := &table{spec: m.spec, arrow: with(m.arrow), parts: m.parts, added: additions{
		partition: m.added.partition, data: with(m.added.data), dataAt: append(slices.Clone(m.added.dataAt), m.arrow.NumFields()),
	}}
	s := t.newStager(ctx)
	s.folder = tablefmt.ChangeDataFolder
	return s
}
