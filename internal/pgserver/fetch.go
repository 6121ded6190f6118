package pgserver

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/xi2/xz"
)

// fetchDefault is the version that is fetched when any will do.
const fetchDefault = 18

// releases are the builds that are fetched, by major version (github.com/zonkyio/embedded-postgres-binaries).
var releases = map[int]string{18: "18.6.0", 17: "17.11.0", 16: "16.15.0", 15: "15.19.0", 14: "14.24.0"}

// checksums are the SHA-256 of the archives that were tried. Others are held against the checksum that is published beside them.
var checksums = map[string]string{
	"linux-amd64-18.6.0":  "008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1",
	"linux-amd64-17.11.0": "0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d",
	"linux-amd64-16.15.0": "653abc065c682b85d3da50168fb95dc524bd85426cdec9ce3695a550ef431df2",
	"linux-amd64-15.19.0": "95f0b66fe72d4ca66c815773c44cb1196ea38552463e89a35f18114b3ed1565f",
	"linux-amd64-14.24.0": "2722d05eb22c671104c9918d59d8ba9f5656898f5452a0207bb4cce21eef5dc4",
}

const archiveBytesMax = 256 << 20 // far above the 15 MB of today's archives

// mavenCentral is where the library that these builds are made for fetches
// them from by default; it has no other way to tell.
func mavenCentral() string {
	f := reflect.ValueOf(embeddedpostgres.DefaultConfig()).FieldByName("binaryRepositoryURL")
	if !f.IsValid() || f.Kind() != reflect.String {
		return ""
	}
	return f.String()
}

// fetchVersion downloads one release, holds it against its checksum and unpacks it into the cache.
// Several processes may do so at once: each unpacks beside the place and the last rename wins.
func fetchVersion(ctx context.Context, version int) (Installation, error) {
	const op = "fetch PostgreSQL"
	release, on := releases[version], platform()
	if release == "" || on == "" {
		return Installation{}, failed(op, strconv.Itoa(version), fmt.Errorf("%w: there is no such build for this machine", ErrNotFound),
			"install that version of PostgreSQL with the machine's package manager")
	}
	dir := filepath.Join(cacheDir(), "postgresql-"+release)
	base := mavenCentral()
	if other := os.Getenv("LAKELOAD_MAVEN_URL"); other != "" {
		base = strings.TrimSuffix(other, "/")
	}
	url := fmt.Sprintf("%s/io/zonky/test/postgres/embedded-postgres-binaries-%s/%s/embedded-postgres-binaries-%s-%s.jar", base, on, release, on, release)
	const hint = "see whether Maven Central can be reached (LAKELOAD_MAVEN_URL names a mirror), or install that version of PostgreSQL"

	jar, err := download(ctx, url)
	if err != nil {
		return Installation{}, failed(op, url, err, hint)
	}
	want := checksums[on+"-"+release]
	if want == "" {
		sum, err := download(ctx, url+".sha256")
		if err != nil {
			return Installation{}, failed(op, url+".sha256", err, hint)
		}
		want = strings.TrimSpace(string(sum))
	}
	if sum := sha256.Sum256(jar); hex.EncodeToString(sum[:]) != want {
		return Installation{}, failed(op, url, fmt.Errorf("its SHA-256 is %x, not %s", sum, want), "the download was damaged or changed on the way: try again, or use another mirror")
	}
	if err := unpackInto(jar, dir); err != nil {
		return Installation{}, failed("unpack PostgreSQL into", dir, err, "LAKELOAD_PG_CACHE names another folder, which needs 100 MB and must be open to all users when root runs this")
	}
	in, err := inspect(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return Installation{}, failed("run the fetched PostgreSQL of", dir, err, "install that version of PostgreSQL with the machine's package manager")
	}
	in.Fetched = true
	return in, nil
}

func download(ctx context.Context, url string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// A transport of its own, so that no idle connection outlives the call.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, archiveBytesMax+1))
	if err == nil && len(body) > archiveBytesMax {
		err = fmt.Errorf("it is larger than %d bytes", archiveBytesMax)
	}
	return body, err
}

// unpackInto unpacks the archive inside the jar into dir, all of it or nothing.
func unpackInto(jar []byte, dir string) (err error) {
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	archive, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		return err
	}
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, ".txz") {
			continue
		}
		if err := unpackTxz(file, tmp); err != nil {
			return err
		}
		if err := os.Chmod(tmp, 0o755); err != nil {
			return err
		}
		if err := os.Rename(tmp, dir); err != nil {
			if _, statErr := os.Stat(filepath.Join(dir, "bin", "postgres")); statErr == nil {
				return nil // another process was first
			}
			return err
		}
		return nil
	}
	return errors.New("there is no .txz in it")
}

func unpackTxz(file *zip.File, dir string) (err error) {
	r, err := file.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	x, err := xz.NewReader(r, 0)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // nothing is written outside it, whatever the archive says
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for t := tar.NewReader(x); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, h, t); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, h *tar.Header, content io.Reader) error {
	name := filepath.Clean(filepath.FromSlash(h.Name))
	if err := makeOpen(root, filepath.Dir(name)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return makeOpen(root, name)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		mode := 0o644 | os.FileMode(h.Mode)&0o111
		f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(mode), f.Close())
	default:
		return nil
	}
}

// makeOpen makes a folder and those above it that all users may enter, whatever the umask says.
func makeOpen(root *os.Root, name string) error {
	if _, err := root.Stat(name); err == nil {
		return nil
	}
	if err := makeOpen(root, filepath.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}
