package objstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// TempPrefix begins the name of every temporary file that [Local] writes
// beside an object. Such names are reserved in every store: they are refused
// as paths and never listed.
const TempPrefix = ".lakeload-tmp-"

// PathError says that a path or a prefix can name no object. It is the
// caller's mistake: nothing was read or written, and trying again is useless.
type PathError struct {
	Op     string // "Get"
	Path   string // as it was given
	Reason string // "has an empty element"
}

func (e *PathError) Error() string {
	return fmt.Sprintf("%s: the path %q %s", e.Op, e.Path, e.Reason)
}

// CheckPath gives a *PathError unless path can name an object (see [Store]).
// Every implementation of Store calls it before it does anything.
func CheckPath(op, path string) error {
	reason := wrongText(path)
	if reason == "" {
		reason = wrongElements(path)
	}
	if reason == "" {
		return nil
	}
	return &PathError{Op: op, Path: path, Reason: reason}
}

// CheckPrefix gives a *PathError unless prefix begins some path that CheckPath
// accepts. The empty prefix begins all of them.
func CheckPrefix(op, prefix string) error {
	reason := wrongText(prefix)
	// What follows the last slash may grow into a good element, whatever it
	// is; only what is before it is complete.
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 && reason == "" {
		reason = wrongElements(prefix[:i])
	}
	if reason == "" {
		return nil
	}
	return &PathError{Op: op, Path: prefix, Reason: reason}
}

func wrongText(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.IndexByte(s, 0) >= 0:
		return "holds a NUL byte"
	}
	return ""
}

func wrongElements(path string) string {
	if path == "" {
		return "is empty"
	}
	if path[0] == '/' {
		return "begins with a slash: paths are relative to the store"
	}
	if path[len(path)-1] == '/' {
		return "ends with a slash: folders are not objects"
	}
	for rest, more := path, true; more; {
		var elem string
		elem, rest, more = strings.Cut(rest, "/")
		switch {
		case elem == "":
			return "has an empty element"
		case elem == "." || elem == "..":
			return fmt.Sprintf("has the element %q", elem)
		case strings.HasPrefix(elem, TempPrefix):
			return fmt.Sprintf("has an element that begins with %q, which is reserved for temporary files", TempPrefix)
		}
	}
	return ""
}
