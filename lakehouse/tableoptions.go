package lakehouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// TableOptions say how a table of the source is kept in the lake. The zero
// value of a field means what is recorded of the table, or, for a new one, the
// default.
type TableOptions struct {
	// Modes are the kinds of tables that it is kept as. Default ModeMirror.
	Modes []Mode `json:"modes"`
	// PartitionBy are the partition columns, as package partition writes them:
	// columns of the source, or what is derived of one, as in month(created_at).
	// Nil: as recorded; empty: none. A changelog keeps those that it was made
	// with.
	PartitionBy []string `json:"partition_by,omitempty"`
	// Metadata are columns that tell of the loading of a row. Nil: as recorded;
	// empty: none.
	Metadata []MetadataColumn `json:"metadata,omitempty"`
	// SourceSystem is the text of MetadataSource. Default: the pipeline's name.
	SourceSystem string `json:"source_system,omitempty"`
	// Delete says what becomes of a mirror's row that the source deletes. Default
	// DeleteHard.
	Delete DeleteMode `json:"delete,omitempty"`
	// Deletes says how a mirror's rows are taken out of its files. Default
	// DeletesVectors, unless somebody has set delta.enableDeletionVectors to false in
	// the table.
	Deletes DeletesMode `json:"deletes,omitempty"`
	// ChangeFeed says whether a mirror keeps a change data feed, from its next
	// change on. Default: as the table's property delta.enableChangeDataFeed says,
	// which somebody else may have set.
	ChangeFeed FeedMode `json:"change_feed,omitempty"`

	// Masks keep values of columns out of the lake. Other than with the other
	// options none means none: what masked a column is not taken away before
	// somebody asks for a resync of the table.
	Masks []mask.Column `json:"masks,omitempty"`
	// Salt is the key of its hashes; it is nowhere recorded. Nil where there are
	// none.
	Salt *mask.Salt `json:"-"`
	// SaltMark tells the salt of the hashes that the lake holds from others. It
	// is made of Salt.
	SaltMark string `json:"salt_mark,omitempty"`
}

// MetadataColumn is a column that tells of the loading of a row.
type MetadataColumn string

// The metadata columns.
const (
	// MetadataIngested is _ingestion_timestamp: when the flush, or the copy's
	// reading, began that gave the row its present state, in UTC.
	MetadataIngested MetadataColumn = "ingestion_timestamp"
	// MetadataSource is _source_system: what the configuration calls the source.
	MetadataSource MetadataColumn = "source_system"
)

// DeleteMode is what becomes of a mirror's row that the source deletes.
type DeleteMode string

// The ways.
const (
	DeleteHard   DeleteMode = "hard"   // it goes
	DeleteSoft   DeleteMode = "soft"   // it stays, with _deleted set, until its key comes back
	DeleteIgnore DeleteMode = "ignore" // it stays as it was
)

// DeletesMode is how rows are taken out of a mirror's files.
type DeletesMode string

// The ways.
const (
	DeletesVectors DeletesMode = "vectors" // a deletion vector marks them
	DeletesRewrite DeletesMode = "rewrite" // the file is written anew without them
)

// optionMove is what it takes to keep a table by other options from now on.
type optionMove struct {
	// notes say in words what is different; none: nothing is.
	notes []string
	// resync says that what the lake holds is not what the new options would
	// have made: the table has to be copied again.
	resync bool
	// refused says why the table may not be kept so; "" where it may.
	refused string
	remedy  string // of refused
}

func (m *optionMove) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// move compares the options that a table is kept by with those that are wanted,
// and gives the ones that result. It is pure.
func (o *TableOptions) move(want *TableOptions) (TableOptions, optionMove) {
	var m optionMove
	next := *o
	if len(want.Modes) > 0 {
		for _, mode := range want.Modes {
			if !slices.Contains(o.Modes, mode) {
				m.note("a %s is made of it", mode)
				m.resync = true
			}
		}
		for _, mode := range o.Modes {
			if !slices.Contains(want.Modes, mode) {
				m.note("its %s is not kept on; it stays as it is", mode)
			}
		}
		next.Modes = slices.Clone(want.Modes)
	}
	if want.PartitionBy != nil && !slices.Equal(want.PartitionBy, o.PartitionBy) {
		m.note("it is partitioned by [%s] instead of [%s]", strings.Join(want.PartitionBy, ", "), strings.Join(o.PartitionBy, ", "))
		next.PartitionBy = slices.Clone(want.PartitionBy)
		if slices.Contains(next.Modes, ModeMirror) {
			m.resync = true
		} else {
			m.note("its changelog stays partitioned as it is")
		}
	}
	if want.Metadata != nil && !sameSet(want.Metadata, o.Metadata) {
		m.note("its metadata columns are %v instead of %v", want.Metadata, o.Metadata)
		m.resync, next.Metadata = true, slices.Clone(want.Metadata)
	}
	if want.SourceSystem != "" && want.SourceSystem != o.SourceSystem {
		if o.SourceSystem != "" {
			m.note("its rows name the source %q from now on", want.SourceSystem)
		}
		next.SourceSystem = want.SourceSystem
	}
	if was, is := orHard(o.Delete), orHard(want.Delete); want.Delete != "" && was != is {
		m.note("deletes of its rows are %s instead of %s", is, was)
		m.resync, next.Delete = true, want.Delete
	}
	if was, is := orVectors(o.Deletes), orVectors(want.Deletes); want.Deletes != "" {
		if next.Deletes = want.Deletes; was != is {
			m.note("rows go from its files by %s instead of %s", is, was)
			m.resync = true
		}
	}
	if want.ChangeFeed != "" && want.ChangeFeed != o.ChangeFeed {
		if next.ChangeFeed = want.ChangeFeed; o.ChangeFeed != "" || want.ChangeFeed == FeedOn {
			m.note("its change feed is %s from its next change on", want.ChangeFeed)
		}
	}
	return next, m
}

func orHard(d DeleteMode) DeleteMode {
	if d == "" {
		return DeleteHard
	}
	return d
}

func orVectors(d DeletesMode) DeletesMode {
	if d == "" {
		return DeletesVectors
	}
	return d
}

func sameSet(a, b []MetadataColumn) bool {
	all := func(a, b []MetadataColumn) bool {
		return !slices.ContainsFunc(a, func(c MetadataColumn) bool { return !slices.Contains(b, c) })
	}
	return all(a, b) && all(b, a)
}

// String lists what is different, for people.
func (m *optionMove) String() string { return strings.Join(m.notes, "; ") }

// reconfigure gives a table, which the source has as rel, the options that the
// configuration says now. One that is followed, or could be, is copied again
// where they need it, and stopped where it may not be kept so.
func (t *TableState) reconfigure(want *TableOptions, rel *cdc.Relation) optionMove {
	next, m := t.move(want)
	next.Masks, next.SaltMark = moveMasks(t, want, rel, &m)
	if m.refused != "" && t.Phase != PhaseOffered && t.Phase != PhaseDropped {
		t.refuse(&next, &m)
		return m
	}
	t.TableOptions = next
	t.relent()
	if m.resync && t.Phase == PhasePaused {
		t.NeedsCopy, t.StoppedAt = true, 0 // when it is resumed
	} else if m.resync && t.Followed() {
		t.askCopy()
		t.Reason = "it is to be kept otherwise: " + m.String()
	}
	return m
}

// askCopy has a table copied again. The generation is a new one, which the lake
// does not hold yet: else the copy that is there would be taken for the one
// that is asked for.
func (t *TableState) askCopy() {
	t.agree()
	t.Repair = false
	t.Generation++
	t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt, t.Repair = PhaseCopying, "", "", false, 0, false
}
