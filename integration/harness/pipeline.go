package harness

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/lakehouse"
)

// Pipeline is a database, a lake, and how the program is told to bring one into the other.
type Pipeline struct {
	DB   *Database
	Name string   // of the pipeline: slots are named by it, in a server that others use too
	Lake string   // folder
	Args []string // of `lakeload run`, beside source, lake and name
	Env  []string // added to its environment

	engines []*Engine // that were started, in order
}

// toldOnFailure is of how many engines a failed test shows the log.
const toldOnFailure = 3

// NewPipeline mirrors all tables of a database into a new folder, with a table by which Sync knows where the lake is. More arguments of
// `lakeload run` can be given; the default freshness is 100 ms.
func NewPipeline(t testing.TB, db *Database, args ...string) *Pipeline {
	t.Helper()
	db.Exec(t, "create table lakeload_mark (id int primary key, n bigint)", "insert into lakeload_mark values (1, 0)")
	if !strings.Contains(strings.Join(args, " "), "--tables") {
		args = append([]string{"--all"}, args...)
	}
	if !strings.Contains(strings.Join(args, " "), "--freshness") {
		args = append(args, "--freshness", "100ms")
	}
	return &Pipeline{DB: db, Name: db.Name, Lake: filepath.Join(t.TempDir(), "lake"), Args: args}
}

// Start starts `lakeload run`. More arguments and environment variables (by NAME=value) can be given.
func (p *Pipeline) Start(t testing.TB, more ...string) *Engine {
	t.Helper()
	args := append([]string{"run", "--source", p.DB.DSN, "--lake", p.Lake, "--name", p.Name, "--log-format", "json"}, p.Args...)
	env := p.Env
	for _, m := range more {
		if name, _, ok := strings.Cut(m, "="); ok && !strings.HasPrefix(name, "-") {
			env = append(env[:len(env):len(env)], m)
		} else {
			args = append(args, m)
		}
	}
	cmd := Command(t, args...)
	cmd.Env = append(cmd.Env, env...)
	if len(p.engines) == 0 {
		t.Cleanup(func() {
			if t.Failed() {
				for _, e := range p.engines[max(0, len(p.engines)-toldOnFailure):] {
					t.Log(e.Log())
				}
			}
		})
	}
	e := start(t, cmd)
	p.engines = append(p.engines, e)
	return e
}

// UntilCurrent runs it until the lake has everything that is committed now.
func (p *Pipeline) UntilCurrent(t testing.TB, more ...string) *Engine {
	t.Helper()
	e := p.Start(t, append([]string{"--until-current"}, more...)...)
	e.Succeeds()
	return e
}

// Epoch is an epoch as `lakeload epochs -o json` tells it.
type Epoch struct {
	Epoch      int64            `json:"epoch"`
	LSN        cdc.LSN          `json:"lsn"`
	Tables     map[string]int64 `json:"tables"`
	Incomplete []string         `json:"incomplete"`
}

// Epochs are the lake's epochs, in order; the last n where n is positive.
func (p *Pipeline) Epochs(t testing.TB, n int) []Epoch {
	t.Helper()
	var told struct {
		Epochs []Epoch `json:"epochs"`
	}
	r := Call(t, "epochs", "--lake", p.Lake, "--name", p.Name, "-o", "json", "--last", fmt.Sprint(n))
	if err := json.Unmarshal([]byte(r.Stdout), &told); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	return told.Epochs
}

// Last is the last epoch.
func (p *Pipeline) Last(t testing.TB) Epoch {
	t.Helper()
	epochs := p.Epochs(t, 1)
	if len(epochs) != 1 {
		t.Fatalf("the lake has no epoch")
	}
	return epochs[0]
}

// Sync waits until the lake has everything that is committed now, the tables that are being copied too, and gives the epoch that has. The engine e
// must be running.
func (p *Pipeline) Sync(t testing.TB, e *Engine) Epoch {
	t.Helper()
	before, err := cdc.ParseLSN(p.DB.LSN(t))
	if err != nil {
		t.Fatal(err)
	}
	at := func(ev Event) bool {
		lsn, err := cdc.ParseLSN(ev.LSN)
		return err == nil && ev.Epoch > 0 && lsn > before
	}
	var marked time.Time
	Await(t, "an epoch after "+before.String(), func() (bool, string) {
		if !e.Running() {
			t.Fatalf("the engine ended\n%s", e.Log())
		}
		// Once would do, were there not tables that have just been copied: no epoch is recorded before a commit after their copies.
		if time.Since(marked) > time.Second {
			p.DB.Exec(t, "update lakeload_mark set n = n + 1")
			marked = time.Now()
		}
		return slices.ContainsFunc(e.Events("batch_committed"), at) && p.whole(t), e.Log()
	})
	last := p.Last(t)
	if last.LSN <= before {
		t.Fatalf("a batch after %s was told to be committed, and the last epoch is at %s\n%s", before, last.LSN, e.Log())
	}
	return last
}

// whole reports whether the last epoch has all tables that are followed.
func (p *Pipeline) whole(t testing.TB) bool {
	t.Helper()
	last := p.Last(t)
	if len(last.Incomplete) == 0 {
		return true
	}
	status := p.Status(t)
	return !slices.ContainsFunc(last.Incomplete, func(name string) bool { return status[name].Phase == "copying" || status[name].Phase == "live" })
}

// TableStatus is a table as `lakeload status -o json` tells it.
type TableStatus struct {
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Phase  string `json:"phase"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
	Source string `json:"source"` // its name there, where it is another
	// InsertOnly says that its updates and deletes are not mirrored.
	InsertOnly bool `json:"insert_only"`
	Copy       struct {
		Ranges int   `json:"ranges"`
		Done   int   `json:"ranges_done"`
		Rows   int64 `json:"rows"`
	} `json:"copy"`
}

// Status is what `lakeload status -o json` tells of the lake's tables, by their names.
func (p *Pipeline) Status(t testing.TB) map[string]TableStatus {
	t.Helper()
	var told struct {
		Tables []TableStatus `json:"tables"`
	}
	r := Call(t, "status", "--lake", p.Lake, "--name", p.Name, "-o", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &told); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	tables := map[string]TableStatus{}
	for _, s := range told.Tables {
		tables[s.Schema+"."+s.Table] = s
	}
	return tables
}

// Path is the folder of a mirror with a plain name, in the schema public.
func (p *Pipeline) Path(table string) string {
	return filepath.Join(p.Lake, filepath.FromSlash(lakehouse.MirrorPath("public", table)))
}

// Same fails the test unless a reader sees in each table (of the schema public) the rows that the source has now.
func (p *Pipeline) Same(t testing.TB, kind readers.Kind, tables ...string) {
	t.Helper()
	if differ := p.Differs(t, kind, tables...); differ != "" {
		t.Fatal(differ)
	}
}

// Differs says in which tables (of the schema public) a reader sees other rows than the source has now, and names rows that differ; "" for none.
// A table that the reader cannot read differs.
func (p *Pipeline) Differs(t testing.TB, kind readers.Kind, tables ...string) string {
	t.Helper()
	var differ []string
	for _, table := range tables {
		if d := p.differs(t, kind, table); d != "" {
			differ = append(differ, d)
		}
	}
	return strings.Join(differ, "\n")
}

func (p *Pipeline) differs(t testing.TB, kind readers.Kind, table string) string {
	t.Helper()
	columns := p.Columns(t, table)
	want, err := readers.PGFingerprint(t.Context(), p.DB.DSN, "public", table, columns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readers.Get(t, kind).Fingerprint(t.Context(), p.Path(table), nil, columns)
	if err != nil {
		return fmt.Sprintf("%s of %s: %v", kind, table, err)
	}
	if got == want {
		return ""
	}
	rows, err := readers.PGRows(t.Context(), p.DB.DSN, "public", table, columns)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := readers.Get(t, kind).Rows(t.Context(), p.Path(table), nil, columns)
	if err != nil {
		return fmt.Sprintf("%s of %s: %v", kind, table, err)
	}
	return fmt.Sprintf("%s: the source has %s, %s sees %s: %s", table, want, kind, got, readers.Diff(seen, rows))
}

// Columns are a source table's columns, in their order.
func (p *Pipeline) Columns(t testing.TB, table string) []string {
	t.Helper()
	list := p.DB.Value(t, `select json_agg(attname order by attnum) from pg_attribute where attrelid = '"public"."`+table+`"'::regclass and attnum > 0 and not attisdropped`)
	var columns []string
	if err := json.Unmarshal([]byte(list), &columns); err != nil {
		t.Fatalf("%v: %s", err, list)
	}
	return columns
}
