package tablefmt

// madeFile is what a [FileWriter] vouches for of the file that it has written,
// so that a commit can tell whether the file keeps the table's rules. It goes
// with the action as long as that stays in memory; a nil one vouches for
// nothing.
type madeFile struct {
	rowIDs     bool   // rows from other files keep their ids (Row Tracking)
	rules      string // the rules that every row keeps, see rowRules.id
	partitions bool   // the partition columns stand in the file, too
}

func (m *madeFile) keepsRowIDs() bool { return m != nil && m.rowIDs }

// keeps reports whether every row was held against the given rules.
func (m *madeFile) keeps(rules string) bool { return m != nil && m.rules == rules }

func (m *madeFile) hasPartitions() bool { return m != nil && m.partitions }
