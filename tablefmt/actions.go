package tablefmt

import (
	"encoding/json"
	"maps"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// Action is one line of a commit: exactly one field is set. (Actions)
// An Action whose fields are all nil stands for one that this package does
// not know; replay ignores it, as the protocol demands.
type Action struct {
	CommitInfo *CommitInfo     `json:"commitInfo,omitempty"`
	Protocol   *Protocol       `json:"protocol,omitempty"`
	Metadata   *Metadata       `json:"metaData,omitempty"`
	Txn        *Txn            `json:"txn,omitempty"`
	Domain     *DomainMetadata `json:"domainMetadata,omitempty"`
	Remove     *RemoveFile     `json:"remove,omitempty"`
	Add        *AddFile        `json:"add,omitempty"`
	CDC        *CDCFile        `json:"cdc,omitempty"`
}

// Protocol says what a reader and a writer of the table must be able to do.
// (Protocol Evolution, Table Features) See [MirrorProtocol] and
// [ChangelogProtocol] for the ones that we create.
type Protocol struct {
	MinReaderVersion int `json:"minReaderVersion"`
	MinWriterVersion int `json:"minWriterVersion"`
	// ReaderFeatures is set exactly when MinReaderVersion is 3.
	ReaderFeatures []string `json:"readerFeatures,omitempty"`
	// WriterFeatures is set exactly when MinWriterVersion is 7.
	WriterFeatures []string `json:"writerFeatures,omitempty"`
}

// MarshalJSON writes feature lists, empty ones too, exactly for the versions
// that have them.
func (p Protocol) MarshalJSON() ([]byte, error) {
	type wire struct {
		MinReaderVersion int       `json:"minReaderVersion"`
		MinWriterVersion int       `json:"minWriterVersion"`
		ReaderFeatures   *[]string `json:"readerFeatures,omitempty"`
		WriterFeatures   *[]string `json:"writerFeatures,omitempty"`
	}
	w := wire{MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion}
	list := func(f []string) *[]string {
		if f == nil {
			f = []string{}
		}
		return &f
	}
	if p.MinReaderVersion >= 3 {
		w.ReaderFeatures = list(p.ReaderFeatures)
	}
	if p.MinWriterVersion >= 7 {
		w.WriterFeatures = list(p.WriterFeatures)
	}
	return json.Marshal(w)
}

// Format names the encoding of the data files; only "parquet" exists.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Metadata is the table's identity, schema and properties. (Change Metadata)
// One that came from a snapshot is shared and must not be changed; change a
// [Metadata.Clone].
type Metadata struct {
	ID               string            `json:"id"` // a UUID; stays for the table's life
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"` // [Schema] as JSON, see [ParseSchema]
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`         // table properties, with their Delta names
	CreatedTime      *int64            `json:"createdTime,omitempty"` // milliseconds since 1970
}

// Clone gives a copy whose slices and maps may be changed.
func (m *Metadata) Clone() *Metadata {
	c := *m
	c.Format.Options = maps.Clone(m.Format.Options)
	c.PartitionColumns = append([]string{}, m.PartitionColumns...)
	c.Configuration = maps.Clone(m.Configuration)
	return &c
}

// schemaText is the schema's JSON. The protocol requires one; where there is
// none, as in the log of a table that got its columns later, it is that of no
// columns, as Delta takes it.
func (m *Metadata) schemaText() string {
	if m.SchemaString == "" {
		return `{"type":"struct","fields":[]}`
	}
	return m.SchemaString
}

// Property gives a table property's value, "" where it is not set.
func (m *Metadata) Property(key string) string { return m.Configuration[key] }

// AddFile says that a logical file (a data file and, if any, its deletion
// vector) is part of the table. (Add File and Remove File) One that came from
// a snapshot is shared and must not be changed.
type AddFile struct {
	// Path is relative to the table's folder, or absolute in a shallow clone;
	// percent-encoded. See [AddFile.DataPath].
	Path string `json:"path"`
	// PartitionValues has one entry for each partition column, by its physical
	// name, nil for null. See [FormatPartitionValue] and
	// [Snapshot.PartitionValues].
	PartitionValues  map[string]*string `json:"partitionValues"`
	Size             int64              `json:"size"`             // bytes
	ModificationTime int64              `json:"modificationTime"` // milliseconds since 1970
	// DataChange is false if the commit only rearranges rows.
	DataChange bool `json:"dataChange"`
	// Stats is the statistics' JSON, "" for none. See [AddFile.ParseStats].
	Stats                   string            `json:"stats,omitempty"`
	Tags                    map[string]string `json:"tags,omitempty"`
	DeletionVector          *dv.Descriptor    `json:"deletionVector,omitempty"` // nil: no row is deleted
	BaseRowID               *int64            `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64            `json:"defaultRowCommitVersion,omitempty"`
	ClusteringProvider      string            `json:"clusteringProvider,omitempty"`

	// made is what our writer vouches for of a file that it has just written; nil
	// for one of the log.
	made *madeFile
}

// DataPath is the data file's path in the table's store: Path decoded and
// checked to stay inside the table. It is an *[OutsideError] for the file of a
// shallow clone's source.
func (a *AddFile) DataPath() (string, error) { return decodePath(a.Path) }

// Remove gives the action that takes this logical file out of the table now
// (in milliseconds since 1970). It names the file's deletion vector, which is
// part of its identity.
func (a *AddFile) Remove(now int64, dataChange bool) *RemoveFile {
	return &RemoveFile{
		Path: a.Path, DeletionTimestamp: &now, DataChange: dataChange,
		ExtendedFileMetadata: true, PartitionValues: a.PartitionValues, Size: &a.Size, Tags: a.Tags,
		DeletionVector: a.DeletionVector, BaseRowID: a.BaseRowID, DefaultRowCommitVersion: a.DefaultRowCommitVersion,
	}
}

// RemoveFile says that a logical file is no longer part of the table. It
// stays as a tombstone until the table's retention has passed.
type RemoveFile struct {
	Path                    string             `json:"path"`                        // as in AddFile
	DeletionTimestamp       *int64             `json:"deletionTimestamp,omitempty"` // milliseconds since 1970
	DataChange              bool               `json:"dataChange"`
	ExtendedFileMetadata    bool               `json:"extendedFileMetadata,omitempty"` // PartitionValues, Size and Tags are set
	PartitionValues         map[string]*string `json:"partitionValues,omitempty"`
	Size                    *int64             `json:"size,omitempty"`
	Tags                    map[string]string  `json:"tags,omitempty"`
	DeletionVector          *dv.Descriptor     `json:"deletionVector,omitempty"`
	BaseRowID               *int64             `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64             `json:"defaultRowCommitVersion,omitempty"`
}

// DataPath is as [AddFile.DataPath].
func (r *RemoveFile) DataPath() (string, error) { return decodePath(r.Path) }

// CDCFile names a file with the row changes of its version. (Add CDC File)
type CDCFile struct {
	Path            string             `json:"path"`
	PartitionValues map[string]*string `json:"partitionValues"`
	Size            int64              `json:"size"`
	DataChange      bool               `json:"dataChange"` // always false
	Tags            map[string]string  `json:"tags,omitempty"`
}

// Txn records how far an application has come. (Transaction Identifiers)
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitempty"` // milliseconds since 1970
}

// DomainMetadata is a named configuration. (Domain Metadata)
type DomainMetadata struct {
	Domain        string `json:"domain"`
	Configuration string `json:"configuration"`
	Removed       bool   `json:"removed"`
}

// CommitInfo says who made a commit and why. (Commit Provenance Information)
type CommitInfo struct {
	// InCommitTimestamp is set where the table's property asks for it.
	InCommitTimestamp   *int64            `json:"inCommitTimestamp,omitempty"` // milliseconds since 1970
	Timestamp           int64             `json:"timestamp,omitempty"`         // milliseconds since 1970
	Operation           string            `json:"operation,omitempty"`
	OperationParameters map[string]any    `json:"operationParameters,omitempty"`
	ReadVersion         *int64            `json:"readVersion,omitempty"`
	IsolationLevel      string            `json:"isolationLevel,omitempty"`
	IsBlindAppend       *bool             `json:"isBlindAppend,omitempty"`
	OperationMetrics    map[string]any    `json:"operationMetrics,omitempty"`
	UserMetadata        string            `json:"userMetadata,omitempty"`
	EngineInfo          string            `json:"engineInfo,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
	// TxnID is unique to the attempt to commit: by it a commit whose outcome
	// was unknown is recognised.
	TxnID string `json:"txnId,omitempty"`
}

// vectorID is the part of a logical file's identity that its deletion vector
// makes: "" for none.
func vectorID(d *dv.Descriptor) string {
	if d == nil {
		return ""
	}
	return d.UniqueID()
}
