package lakehouse

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Mode is a kind of table in the lake.
type Mode string

// The kinds of tables.
const (
	// ModeMirror keeps a table that equals the source's.
	ModeMirror Mode = "mirror"
	// ModeChangelog keeps every change, append only.
	ModeChangelog Mode = "changelog"
)

// Options configure a pipeline. The zero value of a field means its default.
type Options struct {
	// Name is the pipeline's name: it names the state in the lake. Default
	// "default". Letters, digits, '-' and '_'.
	Name string

	// Source is read; the engine closes it. Required.
	Source cdc.Source

	// Lake is written. Required.
	Lake objstore.Store

	// CacheDir is a local folder for what can be rebuilt (the key index). It
	// is made when missing. Empty: everything is kept in memory.
	CacheDir string

	// Slot and Publication are recorded in the state, so that a lake is not
	// continued from another slot. Required.
	Slot, Publication string

	// Table says how a table of the source is kept; nil means the zero value for
	// every table. It is asked for every table at every start, and gives the same
	// each time. It gets relations as Source makes them, which are not masked.
	Table func(rel *cdc.Relation) TableOptions

	// OnSchemaChange says what is done when the columns of a source's table
	// change. The zero value is the defaults of [typemap.Policy].
	OnSchemaChange typemap.Policy

	// OnUntold says what is done about changes of rows that no stream tells.
	OnUntold UntoldPolicy

	// OnLakeChange says what is done about a table of the lake whose rows or columns
	// another program has changed, or which it has restored, replaced or removed:
	// typemap.Stop (the default), or typemap.Resync, by which the rows that differ from
	// the source's are written anew, or where they cannot be told all of them.
	OnLakeChange typemap.Action

	// OnNewTable says what is done about selected tables that the lake does not
	// have. Default NewTableCopy.
	OnNewTable NewTablePolicy

	// WatchInterval is how often the source's catalogue is looked at for what
	// the stream does not tell. Default 10 s.
	WatchInterval time.Duration

	// Freshness bounds the age of a change that is not flushed yet, while the
	// store keeps up. Default 1 s.
	Freshness time.Duration

	// Memory is the budget in bytes for changes in flight and the key
	// indexes. Default 512 MiB.
	Memory int64

	// FlushBytes is the size in memory, in bytes, at which changes are flushed
	// before Freshness asks for it; of a transaction that is larger, parts are
	// staged before its end. Default an eighth of Memory.
	FlushBytes int64

	// CopyWorkers is the number of ranges of the initial copy that are read
	// and written at a time. Default 2.
	CopyWorkers int

	// TargetFileSize is the size in bytes at which a data file is closed and
	// the next begun. Default 128 MiB.
	TargetFileSize int64

	// Checkpoints says when the log of a table gets a checkpoint. The zero
	// value is the default policy of package tablefmt.
	Checkpoints tablefmt.CheckpointPolicy

	// EpochRetention is how long epochs can be asked for at least, from when they
	// were recorded; negative: for ever. Default 30 days. What a table shows at
	// an epoch is there for as long as the table keeps that version, which its
	// properties say.
	EpochRetention time.Duration

	// UntilCurrent ends Run as soon as everything that the source had
	// committed when the stream was opened is in the lake.
	UntilCurrent bool

	// WALGuard watches over the log that the source keeps for the pipeline.
	WALGuard WALGuard

	// IdleInterval is how often the position of an idle source is recorded.
	// Default 30 s.
	IdleInterval time.Duration

	// Events gets what happens; nil fields are skipped.
	Events Events

	// Log gets what a person would want to read. Default: discarded.
	Log *slog.Logger
}

var pipelineName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// EnsureDefaults fills the fields that are zero.
func (o *Options) EnsureDefaults() {
	if o.Name == "" {
		o.Name = "default"
	}
	if o.Table == nil {
		o.Table = func(*cdc.Relation) TableOptions { return TableOptions{} }
	}
	if o.OnNewTable == "" {
		o.OnNewTable = NewTableCopy
	}
	if o.OnLakeChange == "" {
		o.OnLakeChange = typemap.Stop
	}
	o.OnSchemaChange.EnsureDefaults()
	if o.WatchInterval == 0 {
		o.WatchInterval = 10 * time.Second
	}
	if o.Freshness == 0 {
		o.Freshness = time.Second
	}
	if o.Memory == 0 {
		o.Memory = 512 << 20
	}
	if o.FlushBytes == 0 {
		o.FlushBytes = o.Memory / 8
	}
	if o.CopyWorkers == 0 {
		o.CopyWorkers = 2
	}
	if o.TargetFileSize == 0 {
		o.TargetFileSize = 128 << 20
	}
	if o.EpochRetention == 0 {
		o.EpochRetention = 30 * 24 * time.Hour
	}
	o.WALGuard.EnsureDefaults()
	if o.IdleInterval == 0 {
		o.IdleInterval = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate lists everything that is wrong with the options, in one error.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !pipelineName.MatchString(o.Name) {
		bad("pipeline name %q: use 1 to 63 letters, digits, '-' and '_'", o.Name)
	}
	if o.Source == nil {
		bad("no source is given")
	}
	if o.Lake == nil {
		bad("no lake is given")
	}
	if o.Slot == "" || o.Publication == "" {
		bad("slot and publication need names")
	}
	if o.Freshness < 10*time.Millisecond {
		bad("freshness %v is too short: at least 10ms", o.Freshness)
	}
	if o.Memory < 16<<20 {
		bad("memory budget of %d bytes is too small: at least 16 MiB", o.Memory)
	}
	if o.FlushBytes < 0 || o.FlushBytes > o.Memory/4 {
		bad("flush size of %d bytes: between 1 and a quarter of the memory budget", o.FlushBytes)
	}
	if o.EpochRetention > 0 && o.EpochRetention < time.Hour {
		bad("epochs are kept for %v: at least an hour", o.EpochRetention)
	}
	if err := o.WALGuard.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.CopyWorkers < 1 || o.CopyWorkers > 64 {
		bad("copy workers %d: between 1 and 64", o.CopyWorkers)
	}
	if o.TargetFileSize < 1<<20 {
		bad("target file size of %d bytes is too small: at least 1 MiB", o.TargetFileSize)
	}
	return errors.Join(errs...)
}
