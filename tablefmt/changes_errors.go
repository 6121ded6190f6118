package tablefmt

import "fmt"

// VersionGoneError says that the log does not tell of a version any more.
// errors.Is(err, ErrNoVersion) holds.
type VersionGoneError struct {
	Version int64
	Oldest  int64 // that it still tells of
}

func (e *VersionGoneError) Error() string {
	return fmt.Sprintf("%v: %d (log cleanup has removed it; the oldest that is left is %d)", ErrNoVersion, e.Version, e.Oldest)
}

// Is makes errors.Is(err, ErrNoVersion) hold.
func (e *VersionGoneError) Is(target error) bool { return target == ErrNoVersion }

// NoFeedError says that the table kept no change feed at a version.
type NoFeedError struct{ Version int64 }

func (e *NoFeedError) Error() string {
	return fmt.Sprintf("the table kept no change feed at version %d (its property %s is not true there)", e.Version, PropChangeDataFeed)
}

// SchemaChangedError says that rows of a version are none of the schema that the
// last version of the range has, so that they cannot be told together.
type SchemaChangedError struct {
	Version int64 // whose schema does not fit
	To      int64 // the last version of the range
	Reason  string
}

func (e *SchemaChangedError) Error() string {
	return fmt.Sprintf("rows of version %d do not fit the columns of version %d: %s", e.Version, e.To, e.Reason)
}

// FileGoneError says that a file which tells what changed at a version has been
// removed, by vacuum most likely.
type FileGoneError struct {
	Version int64
	Path    string // as the log has it
	Err     error
}

func (e *FileGoneError) Error() string {
	return fmt.Sprintf("the changes of version %d cannot be told any more: its file %s has been removed, by vacuum most likely: %v", e.Version, e.Path, e.Err)
}

// Unwrap gives the store's error.
func (e *FileGoneError) Unwrap() error { return e.Err }
