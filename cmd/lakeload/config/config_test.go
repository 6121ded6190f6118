package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"SHOP_DSN": "postgres://loader@db.example/shop",
		"SECRET":   "p@ss: #word ${SHOP_DSN}",
		"EMPTY":    "",
	}[name]
	return v, ok
}

// TestParse runs testdata/parse: what each file means, or every fault of it.
func TestParse(t *testing.T) {
	datadriven.RunTest(t, "testdata/parse", func(t *testing.T, d *datadriven.TestData) string {
		c, err := Parse("lakeload.yaml", []byte(d.Input), testEnv)
		if err != nil {
			require.Nil(t, c)
			return err.Error() + "\n"
		}
		return fmt.Sprintf("%+v\n", *c)
	})
}

func TestParseOfTheWholeFile(t *testing.T) {
	c, err := Parse("lakeload.yaml", []byte(`
version: 1
name: shop
source: {url: "${SHOP_DSN}", password_file: /run/secrets/pg, streaming: off, origin: none, heartbeat: off}
lake: {url: ./lake, freshness: 10s}
defaults: {mode: mirror}
tables:
  - {match: "public.*", exclude: "public.tmp_*"}
  - match: public.orders
    mode: [changelog, mirror]
limits: {memory: 512MiB, spool: 20GiB, spool_folder: /var/spool/lakeload, source_connections: 4}
keyless: insert-only
listen: 127.0.0.1:9187
`), testEnv)
	require.NoError(t, err)
	require.Equal(t, &Config{
		Path:     "lakeload.yaml",
		Name:     "shop",
		Source:   Source{URL: "postgres://loader@db.example/shop", PasswordFile: "/run/secrets/pg", Streaming: Off, Origin: None, Heartbeat: -1},
		Lake:     Lake{URL: "./lake", Freshness: 10 * time.Second},
		Defaults: Defaults{Mode: []string{Mirror}},
		Tables: []Rule{
			{Match: []string{"public.*"}, Exclude: []string{"public.tmp_*"}},
			{Match: []string{"public.orders"}, Mode: []string{Changelog, Mirror}},
		},
		Limits:  Limits{Memory: 512 << 20, Spool: 20 << 30, SpoolFolder: "/var/spool/lakeload", SourceConnections: 4},
		Keyless: InsertOnly, Listen: "127.0.0.1:9187",
	}, c)
}

func TestLoadFindsThePasswordBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lakeload.yaml")
	require.NoError(t, os.WriteFile(path, []byte("version: 1\nsource: {password_file: pg.pw}\n"), 0o600))
	c, err := Load(path, testEnv)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "pg.pw"), c.Source.PasswordFile)

	_, err = Load(filepath.Join(dir, "absent.yaml"), testEnv)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFaultsCanBeAskedFor(t *testing.T) {
	_, err := Parse("f.yaml", []byte("version: 1\nnxme: x\n"), testEnv)
	var f *Fault
	require.True(t, errors.As(err, &f))
	require.Equal(t, 2, f.Line)
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "1048576": 1 << 20, "512MiB": 512 << 20, "2 GiB": 2 << 30, "1.5kb": 1500, "3TB": 3e12, "7b": 7, "1KIB": 1024,
	} {
		got, err := ParseSize(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "0", "-1", "MiB", "1e400", "nan", "inf", "9e18GiB", "0.4", "12 parsecs"} {
		_, err := ParseSize(in)
		require.Error(t, err, in)
	}
}

// Whatever is mistyped by one letter is understood.
func TestNearestFindsEveryOneLetterSlip(t *testing.T) {
	known := []string{"defaults", "keyless", "lake", "limits", "name", "source", "tables", "version"}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom(known).Draw(t, "word")
		i := rapid.IntRange(0, len(word)-1).Draw(t, "at")
		slip := rapid.SampledFrom([]string{word[:i] + word[i+1:], word[:i] + "x" + word[i:], word[:i] + "x" + word[i+1:]}).Draw(t, "slip")
		require.Equal(t, word, nearest(slip, known))
	})
}

// FuzzParse: no input makes the parser panic, and a refusal says why.
func FuzzParse(f *testing.F) {
	f.Add("version: 1\ntables:\n  - {match: 'public.*'}\n")
	f.Add("a: &a [*a]\n")
	f.Add("version: ${X}\n--- x\n")
	f.Add("*a")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse("f", []byte(text), testEnv)
		if err != nil && !strings.HasPrefix(err.Error(), "f") {
			t.Fatalf("an error without its file: %v", err)
		}
	})
}
