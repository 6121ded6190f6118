package tablefmt

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// What another writer has done meanwhile is in the way of a commit that rests on
// rows, or is not: by what it did, the table's level of isolation, and the rows
// that the commit looked at.
func TestReads(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		winner string // what it does
		reads  Reads
		where  string // "": all rows
		level  string
		fails  bool
	}{
		{"appends", ReadsNothing, "", "", false},
		{"appends", ReadsTable, "", "", true},
		{"appends", ReadsRows, "", "", false},
		{"appends", ReadsRows, "", "WriteSerializable", false},
		{"appends", ReadsRows, "", "serializable", true},
		{"appends after looking", ReadsRows, "", "", true},
		{"appends after looking", ReadsRows, "id < 100", "", false},
		{"appends after looking", ReadsRows, "id >= 100", "", true},
		{"appends after looking", ReadsRows, "p = 'x'", "", true},
		{"appends after looking", ReadsRows, "p = 'y'", "", false},
		{"appends", ReadsTable, "id < 100", "", false},
		{"appends", ReadsTable, "id >= 100", "", true},
		{"removes", ReadsRows, "", "", true},
		{"removes", ReadsRows, "id between 10 and 12", "", true},
		{"removes", ReadsRows, "id > 19", "", false},
		{"removes", ReadsRows, "p = 'y'", "", false},
		{"removes", ReadsTable, "p is null", "", false},
		{"rearranges", ReadsTable, "", "Serializable", false},
		{"describes", ReadsRows, "p = 'y'", "", true},
	} {
		t.Run(fmt.Sprintf("%s, %d %s %s", c.winner, c.reads, c.where, c.level), func(t *testing.T) {
			loc := memoryTable()
			schema := &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "p", Type: String, Nullable: true}}}
			md := &Metadata{SchemaString: schema.JSON(), PartitionColumns: []string{"p"}, Configuration: map[string]string{}}
			if c.level != "" {
				md.Configuration[PropIsolationLevel] = c.level
			}
			file := func(name string, from, to int) AddFile {
				a := fakeAdd(name, to-from+1)
				a.PartitionValues = map[string]*string{"p": ref("x")}
				a.Stats = fmt.Sprintf(`{"numRecords":%d,"minValues":{"id":%d},"maxValues":{"id":%d},"nullCount":{"id":0}}`, to-from+1, from, to)
				return a
			}
			tx := Begin(loc, nil)
			tx.SetProtocol(MirrorProtocol(OptionsFor(schema)))
			tx.SetMetadata(md)
			tx.Add(file("old", 10, 19))
			tx.Add(file("other", 50, 59))
			s := must(tx.Commit(ctx))

			mine := Begin(loc, s)
			mine.SetReads(c.reads)
			if c.where != "" {
				require.NoError(t, mine.SetReadsWhere(must(predicate.Parse(c.where))))
			}
			other, _ := s.File("other")
			mine.Remove(*other.Remove(1, true))

			winner := Begin(loc, s)
			old, _ := s.File("old")
			switch c.winner {
			case "appends":
				winner.Add(file("new", 100, 109))
			case "appends after looking":
				winner.SetReads(ReadsTable)
				winner.Add(file("new", 100, 109))
			case "removes":
				winner.Remove(*old.Remove(1, true))
			case "rearranges":
				winner.Remove(*old.Remove(1, false))
				again := file("again", 10, 19)
				again.DataChange = false
				winner.Add(again)
			case "describes":
				m := s.Metadata().Clone()
				m.Description = "other"
				winner.SetMetadata(m)
			}
			must(winner.Commit(ctx))
			_, err := mine.Commit(ctx)
			if c.fails {
				require.ErrorIs(t, err, ErrConflict)
			} else {
				require.NoError(t, err)
			}
		})
	}
	loc := memoryTable()
	tx := Begin(loc, nil)
	require.Error(t, tx.SetReadsWhere(must(predicate.Parse("id = 1"))))
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON()})
	tx = Begin(loc, must(tx.Commit(ctx)))
	err := tx.SetReadsWhere(must(predicate.Parse("nobody = 1")))
	require.ErrorContains(t, err, "nobody")
	require.False(t, errors.Is(err, ErrConflict))
}
