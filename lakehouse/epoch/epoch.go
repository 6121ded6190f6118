// Package epoch keeps the record of a pipeline's cuts: at which source
// position, and commit time, which version of each table shows exactly the
// source's state there.
package epoch

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// Epoch is one recorded cut.
type Epoch struct {
	Number     int64     `json:"epoch"` // from 1, without gaps
	LSN        cdc.LSN   `json:"lsn"`
	Timeline   uint32    `json:"timeline"`
	CommitTime time.Time `json:"commit_time"` // of the last transaction within
	// Tables maps schema.table to the version that shows the cut. When it
	// comes from Log.From it names every table.
	Tables map[string]int64 `json:"tables"`
	// Incomplete names the tables that were being copied or had stopped: they
	// are not in Tables.
	Incomplete []string  `json:"incomplete,omitempty"`
	Recorded   time.Time `json:"recorded"`
}
