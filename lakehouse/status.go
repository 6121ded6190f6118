package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// TablePhase is where a table is in its life.
type TablePhase string

// The phases.
const (
	PhaseCopying TablePhase = "copying"
	PhaseLive    TablePhase = "live"
	PhaseStopped TablePhase = "stopped"
)

// TableState is what the pipeline's state records of a table.
type TableState struct {
	OID        uint32     `json:"oid"`
	Name       string     `json:"name"` // schema.table of the source
	Phase      TablePhase `json:"phase"`
	Modes      []Mode     `json:"modes"`
	InsertOnly bool       `json:"insert_only,omitempty"`
	Generation int        `json:"generation"` // each copy of the table is a new one
	Reason     string     `json:"reason,omitempty"`
	Remedy     string     `json:"remedy,omitempty"`
	Since      time.Time  `json:"since"`
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
}
