package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// follow takes over what the source says of the table now. Its name in the lake
// stays.
func (t *TableState) follow(rel *cdc.Relation) {
	t.Source, t.InsertOnly = rel.String(), rel.InsertOnly
	if t.Source == t.Name() {
		t.Source = ""
	}
}

// TablePhase is where a table is in its life.
type TablePhase string

// The phases.
const (
	PhaseCopying TablePhase = "copying"
	PhaseLive    TablePhase = "live"
	PhaseStopped TablePhase = "stopped"
	// PhaseDetached is a table that the source has, or selects, no more: the
	// lake keeps what it held. It is copied again if it comes back.
	PhaseDetached TablePhase = "detached"
	// PhaseOffered is a table that the source selects and that is not taken in,
	// because somebody is to be asked first, or it cannot be.
	PhaseOffered TablePhase = "offered"
	// PhasePaused is a table that rests because somebody asked for it. The source
	// keeps what comes, unless the table has to be copied anyhow.
	PhasePaused TablePhase = "paused"
	// PhaseDropped is a table that somebody has let go of: the lake keeps what it
	// held, and it is not taken in again by itself.
	PhaseDropped TablePhase = "dropped"
)

// gone reports whether a table is not followed any more: the lake keeps what it
// held.
func (t *TableState) gone() bool { return t.Phase == PhaseDetached || t.Phase == PhaseDropped }

// Followed reports whether the stream is to carry the table's changes, now or
// when it goes on.
func (t *TableState) Followed() bool { return !t.gone() && t.Phase != PhaseOffered }

// TableState is what the pipeline's state records of a table.
type TableState struct {
	OID    uint32     `json:"oid"`
	Schema string     `json:"schema"`
	Table  string     `json:"table"`
	Source string     `json:"source,omitempty"` // what the source calls it, where that is another name now
	Phase  TablePhase `json:"phase"`
	TableOptions
	InsertOnly bool   `json:"insert_only,omitempty"`
	Generation int    `json:"generation"` // each copy of the table is a new one
	Reason     string `json:"reason,omitempty"`
	Remedy     string `json:"remedy,omitempty"`
	// Heir says that the table takes over the folder of one that the source has
	// dropped, whose name it has.
	Heir bool `json:"heir,omitempty"`
	// StoppedAt is, for a table that stopped or was paused, the cut that it shows:
	// it is resumed from there. It outlives the phase until the table has passed it.
	StoppedAt cdc.LSN `json:"stopped_at,omitempty"`
	// NeedsCopy says of a table that stopped that only a resync can mend it, and
	// of one that was paused that it is copied again when it is resumed.
	NeedsCopy bool `json:"needs_copy,omitempty"`
	// Refused is how the configuration would have the table kept, which only
	// somebody's word, a resync, can grant; nil where there is nothing.
	Refused *Refusal `json:"refused,omitempty"`
	// Membership is the id of its place in the publication, see
	// [cdc.Source.Published].
	Membership uint64 `json:"membership,omitempty"`
	// CopyPoint is the snapshot's point of the table's present copy.
	CopyPoint cdc.LSN `json:"copy_point,omitempty"`
	// Repair says of a table that is being copied that what the lake has is
	// compared with the source, and only the rows that differ are written anew.
	Repair bool `json:"repair,omitempty"`
	// Look and LookSince are what the source's catalogue told of the table when
	// the lake's had its present columns, see [cdc.Look]. Files is the part of it
	// that says which files held the rows, and Columns the highest id that a
	// column had had.
	Look      string            `json:"look,omitempty"`
	LookSince string            `json:"look_since,omitempty"`
	Files     map[uint32]uint32 `json:"files,omitempty"`
	Columns   int32             `json:"columns,omitempty"`
	// SnapshotTime is when the snapshot of the table's copy was taken, by
	// this machine's clock.
	SnapshotTime time.Time `json:"snapshot_time"`
	Since        time.Time `json:"since"`
}

// Name is the qualified name in the lake, for people and for epochs.
func (t *TableState) Name() string { return t.Schema + "." + t.Table }

// SourceName is the qualified name at the source.
func (t TableState) SourceName() string {
	if t.Source != "" {
		return t.Source
	}
	return t.Name()
}

// Status is a running engine's account of itself.
type Status struct {
	Pipeline  string       `json:"pipeline"`
	Source    cdc.Identity `json:"source"`
	Slot      string       `json:"slot"`
	Streaming bool         `json:"streaming"`
	// Durable is the acknowledged position; Received what has arrived;
	// Server the newest position that the server has told.
	Durable   cdc.LSN      `json:"durable_lsn"`
	Received  cdc.LSN      `json:"received_lsn"`
	Server    cdc.LSN      `json:"server_lsn"`
	Epoch     int64        `json:"epoch"`
	EpochTime time.Time    `json:"epoch_commit_time"`
	Rows      int64        `json:"rows"` // changes applied since the start
	Tables    []TableState `json:"tables"`
	// Health is what the last minutes were like.
	Health *Health `json:"health,omitempty"`
}
