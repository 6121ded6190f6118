package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArrows holds this module to its design.
func TestArrows(t *testing.T) {
	m, err := read(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.Equal(t, "github.com/lakeload/lakeload", m.path)
	require.Greater(t, len(m.sources), 50, "the walk has not found the module")
	if bad := check(m); len(bad) > 0 {
		t.Errorf("the packages break the design:\n%s", strings.Join(bad, "\n"))
	}
}

// TestRulesAreUsed: a rule for a library that nobody imports any more, or for
// a file that is gone, has lost its meaning.
func TestRulesAreUsed(t *testing.T) {
	m, err := read(filepath.Join("..", ".."))
	require.NoError(t, err)
	for _, file := range exits {
		_, err := os.Stat(filepath.Join("..", "..", file))
		require.NoError(t, err)
	}
	for _, leaf := range leaves {
		found := false
		for _, s := range m.sources {
			found = found || s.pkg == leaf
		}
		require.True(t, found, leaf)
	}
}

// tree is a made-up module that breaks every rule once, beside what keeps it.
var tree = map[string]string{
	"go.mod":                        "module example.com/lake\n\ngo 1.26\n",
	"cdc/a.go":                      `package cdc; import _ "example.com/lake/tablefmt"`,
	"cdc/b.go":                      `package cdc; import _ "example.com/lake/internal/invariant"`,
	"cdc/b_test.go":                 `package cdc; import _ "example.com/lake/cdc/cdctest"`,
	"cdc/cdctest/a.go":              `package cdctest; import (_ "testing"; _ "example.com/lake/cdc")`,
	"cdc/postgres/a.go":             `package postgres; import (_ "github.com/jackc/pgx/v5/pgconn"; _ "example.com/lake/cdc"; _ "example.com/lake/cdc/postgres/wire")`,
	"cdc/postgres/wire/a.go":        `package wire; import _ "github.com/jackc/pglogrepl"`,
	"tablefmt/a.go":                 `package tablefmt; import (_ "example.com/lake/tablefmt/dv"; _ "example.com/lake/compaction")`,
	"tablefmt/a_test.go":            `package tablefmt; import _ "github.com/parquet-go/parquet-go"`,
	"tablefmt/dv/a.go":              `package dv; import (_ "github.com/RoaringBitmap/roaring/v2"; _ "example.com/lake/tablefmt")`,
	"tablefmt/objstore/a.go":        `package objstore; import _ "example.com/lake/tablefmt/objstore/s3"`,
	"tablefmt/objstore/s3/a.go":     `package s3; import (_ "github.com/minio/minio-go/v7"; _ "example.com/lake/tablefmt/objstore"; _ "example.com/lake/tablefmt/objstore/other")`,
	"tablefmt/objstore/other/a.go":  `package other; import _ "github.com/minio/minio-go/v7"`,
	"compaction/a.go":               `package compaction; import (_ "example.com/lake/tablefmt/objstore"; _ "example.com/lake/lakehouse")`,
	"lakehouse/a.go":                `package lakehouse; import (_ "example.com/lake/compaction"; _ "example.com/lake/cdc/postgres"; _ "example.com/lake/cdc/cdctest"; _ "github.com/jackc/pgx/v5")`,
	"lakehouse/verify/a.go":         `package verify; import (_ "example.com/lake/cdc"; _ "example.com/lake/lakehouse")`,
	"lakehouse/keyindex/a.go":       `package keyindex; import _ "example.com/lake/cdc"`,
	"lakehouse/exit.go":             "package lakehouse\nimport \"os\"\nfunc f() {\n\tos.Exit(1)\n}\n",
	"lakehouse/exit_test.go":        "package lakehouse\nimport \"os\"\nfunc g() { os.Exit(1) }\n",
	"internal/script/a.go":          `package script; import _ "example.com/lake/internal/invariant2"`,
	"internal/invariant/a.go":       `package invariant`,
	"internal/pgserver/pgtest/a.go": `package pgtest; import (_ "testing"; _ "example.com/lake/internal/pgserver")`,
	"cmd/lakeload/main.go":          "package main\nimport (\"os\"; _ \"example.com/lake/lakehouse\"; _ \"example.com/lake/bench\")\nfunc main() { os.Exit(0) }\n",
	"cmd/lakeload/run.go":           "package main\nimport \"log\"\nfunc f() { log.Fatalf(\"no\") }\n",
	"bench/a.go":                    `package bench; import (_ "github.com/jackc/pgx/v5"; _ "example.com/lake/cdc/cdctest")`,
	"surprise/a.go":                 `package surprise`,
	"compaction/t.go":               `package compaction; import _ "testing"`,
	"deploy/go.mod":                 "module elsewhere\n",
	"deploy/a.go":                   `package deploy; import _ "github.com/jackc/pgx/v5"`,
	"cdc/testdata/a.go":             `this is no Go`,
}

func TestViolationsAreFound(t *testing.T) {
	root := t.TempDir()
	for name, text := range tree {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
	}
	m, err := read(root)
	require.NoError(t, err)
	var got []string
	for _, line := range check(m) {
		got = append(got, strings.ReplaceAll(line, "example.com/lake/", ""))
	}
	want := []string{
		"cdc/a.go: imports tablefmt: ",
		"cmd/lakeload/main.go: imports bench: nothing imports that",
		"cmd/lakeload/run.go: log.Fatalf at line 3; ",
		"compaction/a.go: imports lakehouse: ",
		"compaction/t.go: imports testing: ",
		"internal/script/a.go: imports internal/invariant2: ",
		"lakehouse/a.go: imports cdc/cdctest: it is for tests alone",
		"lakehouse/a.go: imports cdc/postgres: ",
		"lakehouse/a.go: imports github.com/jackc/pgx/v5: only cdc/postgres/...",
		"lakehouse/exit.go: os.Exit at line 4; ",
		"lakehouse/keyindex/a.go: imports cdc: ",
		"lakehouse/verify/a.go: imports lakehouse: ",
		"surprise: the package is in no rule",
		"tablefmt/a.go: imports compaction: ",
		"tablefmt/dv/a.go: imports tablefmt: ",
		"tablefmt/objstore/a.go: imports tablefmt/objstore/s3: ",
		"tablefmt/objstore/other/a.go: imports github.com/minio/minio-go/v7: only tablefmt/objstore/s3/...",
		"tablefmt/objstore/s3/a.go: imports tablefmt/objstore/other: ",
	}
	require.Len(t, got, len(want), strings.Join(got, "\n"))
	for i := range want {
		require.True(t, strings.HasPrefix(got[i], want[i]), "%s\nis not %s", got[i], want[i])
	}
}
