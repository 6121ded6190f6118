package typemap

// Action is what is done about a change of a source's table.
type Action string

// The actions; not each makes sense for every change.
const (
	Follow Action = "follow" // do to the lake's table what was done to the source's
	Keep   Action = "keep"   // keep the column with what it holds
	Stop   Action = "stop"   // stop the table, until an operator has looked
	Resync Action = "resync" // copy the table again; its old content stays readable until then
)

// Policy says what is done about changes of columns. The zero value of a field
// means its default.
type Policy struct {
	// Add is for a column that is new: Follow (the default), Stop or Resync.
	// Where rows that are there already may each have a value of their own in
	// it, which only a copy tells, Follow is Resync.
	Add Action
	// Drop is for a column that is gone: Keep (the default), Follow (it is taken
	// out of the lake's table), Stop or Resync.
	Drop Action
	// Rename is for a column, or a table, of another name: Follow (the default),
	// Stop or Resync. The folder of a renamed table stays where it is. Where it
	// cannot be told any more what was renamed, Follow is Resync.
	Rename Action
	// Type is for a column of another type or key columns that change: Stop (the
	// default), Resync, or Follow. What needs no new rows at the source, such as
	// a longer varchar, is always followed. Follow casts rows where the new type
	// holds every value of the old one; the operator says by it that nobody
	// alters types by USING expressions that change the values. Where it does not
	// hold them, it is Resync.
	Type Action
}

// EnsureDefaults fills in the fields that are zero.
func (p *Policy) EnsureDefaults() {
	for _, f := range []struct {
		field *Action
		def   Action
	}{{&p.Add, Follow}, {&p.Drop, Keep}, {&p.Rename, Follow}, {&p.Type, Stop}} {
		if *f.field == "" {
			*f.field = f.def
		}
	}
}
