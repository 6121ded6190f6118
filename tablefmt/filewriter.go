package tablefmt

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// writerPlan is what a data file holds beside the rows that the caller gives,
// and what is held against them.
type writerPlan struct {
	schema     *arrow.Schema            // of the file
	statsOf    func(path []string) bool // nil: the first columns
	check      *checker                 // nil: there is nothing to check
	rowIDs     bool
	partitions bool
	constants  []arrow.Array // partition columns that stand in the file: one value each
	behind     int           // the number of columns after which they stand
	many       []arrow.Array // constants, repeated
}

// made is what is vouched for of the file.
func (p *writerPlan) made() *madeFile {
	m := &madeFile{rowIDs: p.rowIDs, partitions: p.partitions}
	if p.check != nil {
		m.rules = p.check.id
	}
	if *m == (madeFile{}) {
		return nil
	}
	return m
}

// complete gives a batch with the partition columns, where they stand in the
// file. The caller releases it.
func (p *writerPlan) complete(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	if len(p.constants) == 0 {
		rec.Retain()
		return rec, nil
	}
	if int(rec.NumCols()) != p.schema.NumFields()-len(p.constants) {
		return nil, fmt.Errorf("batch of %d columns for a file of %d", rec.NumCols(), p.schema.NumFields()-len(p.constants))
	}
	n := int(rec.NumRows())
	cols := slices.Clone(rec.Columns())
	fields := slices.Clone(rec.Schema().Fields())
	for i, one := range p.constants {
		if p.many[i] == nil || p.many[i].Len() < n {
			many, err := repeat(one, n)
			if err != nil {
				return nil, err
			}
			p.many[i] = many
		}
		part := array.NewSlice(p.many[i], 0, int64(n))
		defer part.Release()
		cols = slices.Insert(cols, p.behind+i, part)
		fields = slices.Insert(fields, p.behind+i, p.schema.Field(p.behind+i))
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, int64(n)), nil
}

// repeat gives at least n times the first value of an array.
func repeat(one arrow.Array, n int) (arrow.Array, error) {
	out := one
	for out.Len() < n {
		twice, err := array.Concatenate([]arrow.Array{out, out}, memory.DefaultAllocator)
		if err != nil {
			return nil, err
		}
		out = twice
	}
	return out, nil
}

// NewFileWriter begins a data file of the table, of all its columns but the
// partition columns. PartitionValues and PartitionColumns are by the names of
// the schema's columns, whatever files call them. ctx covers the whole of the
// writing.
//
// The file is as the table's properties and features want it: its codec, its
// statistics, the folder it lies in, partition columns that stand in files, too
// (materializePartitionColumns). Rows that are new, which they are unless
// Rearranges is set, are held against the table's CHECK constraints, its
// column invariants and the expressions of its generated columns before they
// are written: one that breaks them is a *[ConstraintError], and the file stays
// usable; an expression that cannot be evaluated exactly is an
// *[ExpressionError] here.
func (s *Snapshot) NewFileWriter(ctx context.Context, o FileOptions) (*FileWriter, error) {
	plan, err := s.planWriter(&o)
	if err != nil {
		return nil, fmt.Errorf("creating a data file of table %s: %w", s.loc, err)
	}
	return newFileWriter(ctx, s.loc, plan, o)
}

func (s *Snapshot) planWriter(o *FileOptions) (plan writerPlan, err error) {
	constants, err := s.partitionConstants(o.PartitionValues)
	if err != nil {
		return plan, err
	}
	data := s.DataArrow()
	plan = writerPlan{schema: data, rowIDs: o.RowIDs, partitions: s.writesPartitions()}
	if !o.Rearranges {
		if plan.check, err = newChecker(s, data, constants, o.Computed); err != nil {
			return plan, err
		}
	}
	if err := s.fileLayout(&plan, o, constants); err != nil {
		return plan, err
	}
	if plan.statsOf, err = s.statsOf(o.StatsColumns); err != nil {
		return plan, err
	}
	if err := s.fileProperties(o); err != nil {
		return plan, err
	}
	return plan, s.physicalPartitions(o)
}

// fileLayout adds the columns that stand in the file beside the data columns.
func (s *Snapshot) fileLayout(plan *writerPlan, o *FileOptions, constants map[string]arrow.Array) error {
	fields := plan.schema.Fields()
	plan.behind = len(fields)
	if plan.partitions {
		for _, name := range s.PartitionColumns() {
			fields = append(fields, s.files.Field(s.st.schema.Index(name)))
			plan.constants = append(plan.constants, constants[name])
		}
		plan.many = make([]arrow.Array, len(plan.constants))
	}
	if o.RowIDs {
		ids, err := s.rowIDFields()
		if err != nil {
			return err
		}
		fields = append(fields, ids...)
	}
	plan.schema = arrow.NewSchema(fields, nil)
	return nil
}

// physicalPartitions turns the names of partition columns into those of files.
func (s *Snapshot) physicalPartitions(o *FileOptions) error {
	values := make(map[string]*string, len(o.PartitionValues))
	for name, v := range o.PartitionValues {
		physical, ok := s.PhysicalName(name)
		if !ok {
			return invalidf("it has no partition column %q", name)
		}
		values[physical] = v
	}
	columns := o.PartitionColumns
	if columns == nil {
		columns = s.PartitionColumns()
	}
	o.PartitionValues, o.PartitionColumns = values, make([]string, 0, len(columns))
	for _, name := range columns {
		physical, _ := s.PhysicalName(name)
		o.PartitionColumns = append(o.PartitionColumns, physical)
	}
	return nil
}
