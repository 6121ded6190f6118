package tablefmt

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// decodePath turns a path of the log into one of the table's store: it is
// percent-decoded once (the protocol writes paths as URIs) and may not leave
// the table. An absolute one is an *[OutsideError].
func decodePath(p string) (string, error) {
	f, err := parsePath(p)
	if err == nil && f.outside != nil {
		err = &OutsideError{Path: p}
	}
	return f.inside, err
}

// decodeElements decodes a relative path, p or the part of p that follows the
// first slash, and sees that each element names something.
func decodeElements(p, relative string) (string, error) {
	d, err := percentDecode(relative)
	if err != nil {
		return "", fmt.Errorf("path %q %w", p, err)
	}
	if !utf8.ValidString(d) || strings.ContainsRune(d, 0) {
		return "", fmt.Errorf("path %q is not text", p)
	}
	for part := range strings.SplitSeq(d, "/") {
		switch {
		case part != "" && part != "." && part != "..":
		case p == relative:
			return "", fmt.Errorf("path %q does not stay inside the table", p)
		default:
			return "", fmt.Errorf("path %q has the element %q, which names no file", p, part)
		}
	}
	return d, nil
}

// hasScheme reports whether p begins as a URL does: letters and a colon
// before the first slash. RFC 2396 demands that a relative path with a colon
// in its first element encodes it, and writers do.
func hasScheme(p string) bool {
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case c == ':':
			return i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return false
}

func percentDecode(p string) (string, error) {
	i := strings.IndexByte(p, '%')
	if i < 0 {
		return p, nil
	}
	b := append(make([]byte, 0, len(p)), p[:i]...)
	for ; i < len(p); i++ {
		if p[i] != '%' {
			b = append(b, p[i])
			continue
		}
		if i+2 >= len(p) || unhex(p[i+1]) < 0 || unhex(p[i+2]) < 0 {
			return "", errors.New("has a bad percent-encoding")
		}
		b = append(b, byte(unhex(p[i+1])<<4|unhex(p[i+2])))
		i += 2
	}
	return string(b), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// encodePath is the inverse of decodePath. Everything outside RFC 2396's
// unreserved characters, '/' and '=' is encoded, which every reader decodes.
func encodePath(p string) string {
	return percentEncode(p, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()/=", c) >= 0
	})
}

const upperHex = "0123456789ABCDEF"

func percentEncode(s string, keep func(byte) bool) string {
	n := 0
	for i := 0; i < len(s); i++ {
		if !keep(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; keep(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// nullPartition is the folder name that stands for a null partition value.
const nullPartition = "__HIVE_DEFAULT_PARTITION__"

// partitionFolder gives "name=value" as a folder's name in the store. Like
// Hive and Spark it encodes what a file system may refuse; unlike them it
// encodes spaces, bytes above ASCII and '%' too, so that the name is plain
// everywhere. Names carry no meaning (readers take values from the log), so
// one too long for a file system is cut and told apart by a hash.
func partitionFolder(name string, value *string) string {
	v := nullPartition
	if value != nil {
		v = percentEncode(*value, plainInFolder)
	}
	return shorten(percentEncode(name, plainInFolder)) + "=" + shorten(v)
}

func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s~%016x", s[:most-17], xxh3.HashString(s))
}

func plainInFolder(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
