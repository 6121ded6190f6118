package tablefmt

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// OutsideError says that the log names a file outside of the table's folder by an
// absolute path, as that of a shallow clone names its source's, and that reading
// there was not allowed: see [Location.Outside]. Nothing was read.
type OutsideError struct {
	Path string // as the log has it
	// Why says why an Outside that there is does not allow it; "" where there is
	// none.
	Why string
}

func (e *OutsideError) Error() string {
	s := fmt.Sprintf("the file %q lies outside of the table's folder, as the files of a shallow clone do", e.Path)
	if e.Why != "" {
		return s + ": " + e.Why
	}
	return s + ", and reading outside of it is not allowed"
}

// filePath is a path of the log, decoded. (Add File and Remove File)
type filePath struct {
	inside  string   // relative to the table's folder; "" for an absolute one
	outside *url.URL // nil for a relative one
}

// parsePath reads a path of the log: a URI, percent-decoded once. A relative one
// may not leave the table's folder. An absolute one has a scheme, or begins with
// a slash, and is taken as it is: whoever follows it looks at it first.
func parsePath(p string) (filePath, error) {
	if p == "" {
		return filePath{}, errors.New("the path of a file is empty")
	}
	scheme, host, rest := splitURL(p)
	if scheme == "" && host == "" && !strings.HasPrefix(p, "/") {
		inside, err := decodeElements(p, p)
		return filePath{inside: inside}, err
	}
	if !strings.HasPrefix(rest, "/") {
		return filePath{}, fmt.Errorf("path %q is neither relative nor absolute: a colon in its first element is to be encoded", p)
	}
	d, err := decodeElements(p, rest[1:])
	if err != nil {
		return filePath{}, err
	}
	return filePath{outside: &url.URL{Scheme: scheme, Host: host, Path: "/" + d}}, nil
}

// splitURL divides a path at its scheme and authority, where it has them.
// "file:/a", "file:///a" and "file://localhost/a" are all of the host "".
func splitURL(p string) (scheme, host, rest string) {
	rest = p
	if hasScheme(p) {
		at := strings.IndexByte(p, ':')
		scheme, rest = strings.ToLower(p[:at]), p[at+1:]
	}
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, rest = after, ""
		if at := strings.IndexByte(after, '/'); at >= 0 {
			host, rest = after[:at], after[at:]
		}
	}
	if scheme == "file" && host == "localhost" {
		host = ""
	}
	return scheme, host, rest
}

// canonicalPath is what two paths of the log have in common exactly if they name
// one file: writers differ in which characters they encode, and in how they begin
// an absolute path of a file system. It is the spelling of Java's URIs, which is
// that of most logs, and costs nothing for them. What is no path stays as it is.
func canonicalPath(p string) string {
	if isCanonical(p) {
		return p
	}
	f, err := parsePath(p)
	switch u := f.outside; {
	case err != nil:
		return p
	case u == nil:
		return percentEncode(f.inside, plainInURI)
	case u.Host == "" && (u.Scheme == "" || u.Scheme == "file"):
		return percentEncode(u.Path, plainInURI)
	default:
		scheme := ""
		if u.Scheme != "" {
			scheme = u.Scheme + ":"
		}
		return scheme + "//" + u.Host + percentEncode(u.Path, plainInURI)
	}
}

// isCanonical is true only of what canonicalPath would leave as it is.
func isCanonical(p string) bool {
	if strings.HasPrefix(p, "//") {
		return false
	}
	for i := 0; i < len(p); i++ { // a colon, as of a scheme, is none of the plain ones
		switch c := p[i]; {
		case plainBytes[c]:
		case c == '%' && i+2 < len(p) && upperHexDigit(p[i+1]) && upperHexDigit(p[i+2]) && !plainInURI(byte(unhex(p[i+1])<<4|unhex(p[i+2]))):
			i += 2
		default:
			return false
		}
	}
	return true
}

func upperHexDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// plainInURI says of a byte that Java's URIs leave it as it is within a path; but
// for the colon, so that no relative path looks like a URL.
func plainInURI(c byte) bool { return plainBytes[c] }

var plainBytes = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = plainByte(byte(c))
	}
	return plain
}()

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte("_-!.~'()*,;$&+=@/", c) >= 0
}

// find tells where a file that the log names lies: in which store, and by which
// path of it.
func (l Location) find(path string) (objstore.Store, string, error) {
	p, err := parsePath(path)
	if err != nil {
		return nil, "", err
	}
	if p.outside == nil {
		return l.Data, p.inside, nil
	}
	if inside, ok := l.within(p.outside); ok {
		return l.Data, inside, nil
	}
	if l.Outside == nil {
		return nil, "", &OutsideError{Path: path}
	}
	store, at, err := l.Outside(p.outside)
	if err != nil {
		var refused *OutsideError
		if errors.As(err, &refused) {
			return nil, "", err
		}
		return nil, "", fmt.Errorf("finding the store of %q: %w", path, err)
	}
	return store, at, nil
}

// within gives the path within the table's folder of an absolute one that leads
// there.
func (l Location) within(u *url.URL) (string, bool) {
	root := l.Data.URL()
	switch scheme, rest, ok := strings.Cut(root, "://"); {
	case !ok:
		if u.Host != "" || u.Scheme != "" && u.Scheme != "file" {
			return "", false
		}
		return strings.CutPrefix(u.Path, strings.TrimSuffix(filepath.ToSlash(root), "/")+"/")
	case scheme == "s3" && (u.Scheme == "s3" || u.Scheme == "s3a" || u.Scheme == "s3n"):
		return strings.CutPrefix(u.Host+u.Path, strings.TrimSuffix(rest, "/")+"/")
	}
	return "", false
}

// findVector tells where the file of a deletion vector lies that is not inline.
func (l Location) findVector(d *dv.Descriptor) (objstore.Store, string, error) {
	path, absolute, err := d.Path()
	if err != nil {
		return nil, "", err
	}
	if !absolute {
		return l.Data, path, nil
	}
	if p, err := parsePath(path); err == nil && p.outside == nil {
		return nil, "", fmt.Errorf("the path %q of a deletion vector is to be absolute", path)
	}
	return l.find(path)
}

// LocalOutside makes a [Location.Outside] that allows files below some folders of
// the local disk, and no others. Symbolic links that lead out of a folder are not
// followed. close gives the folders' handles back; no read may follow.
func LocalOutside(folders ...string) (outside func(*url.URL) (objstore.Store, string, error), closeAll func() error, err error) {
	var stores []*objstore.Local
	closeAll = func() error {
		var failed error
		for _, s := range stores {
			failed = errors.Join(failed, s.Close())
		}
		return failed
	}
	for _, folder := range folders {
		s, err := objstore.NewLocal(folder)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		stores = append(stores, s)
	}
	return func(u *url.URL) (objstore.Store, string, error) {
		if u.Host != "" || u.Scheme != "" && u.Scheme != "file" {
			return nil, "", &OutsideError{Path: u.String(), Why: "only folders of this machine are allowed to be read"}
		}
		for _, s := range stores {
			if inside, ok := (Location{Data: s}).within(u); ok {
				return s, inside, nil
			}
		}
		return nil, "", &OutsideError{Path: u.Path, Why: "it is in none of the folders that may be read"}
	}, closeAll, nil
}
