package soak

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// model is what the generator knows of the source's tables: what the catalogue said. Each table has a lock that is held as long as
// PostgreSQL's own would be, so that what is known of a table is true while rows of it are written.
type model struct {
	mu     sync.Mutex // guards what follows; the tables have their own locks
	tables []*table   // in the order in which they are locked
	labels []string   // of the enum
	last   int        // of names
}

// table is a table of the source that the generator writes to.
type table struct {
	rank int // tables are locked in its order

	lock sync.RWMutex // guards what follows
	oid  uint32
	gone bool
	shape
}

// shape is what the catalogue says of a table.
type shape struct {
	Name       string   `json:"name"`
	Columns    []column `json:"columns"`
	Key        []string `json:"key"`         // of the primary key
	PrimaryKey string   `json:"primary_key"` // what it is called
	Identity   []string `json:"identity"`    // of REPLICA IDENTITY USING INDEX
	Replica    string   `json:"replica"`     // d, f, i, n
	Divided    string   `json:"divided"`     // the column that it is partitioned by
	Leaves     []leaf   `json:"leaves"`
}

type column struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
	Default bool   `json:"default"`
}

type leaf struct {
	Name  string `json:"name"`
	Bound string `json:"bound"`
}

// sqlShapes asks for every table that is the generator's, by OID.
const sqlShapes = `
select coalesce(json_object_agg(c.oid, json_build_object(
  'name', c.relname, 'replica', c.relreplident,
  'columns', (select json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod), 'not_null', attnotnull, 'default', atthasdef or attidentity <> '') order by attnum)
     from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped),
  'key', (select json_agg(attname order by array_position(indkey::int[], attnum::int)) from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey) where indrelid = c.oid and indisprimary),
  'primary_key', (select conname from pg_constraint where conrelid = c.oid and contype = 'p'),
  'identity', (select json_agg(attname) from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey) where indrelid = c.oid and indisreplident),
  'divided', (select attname from pg_partitioned_table join pg_attribute on attrelid = partrelid and attnum = partattrs[0] where partrelid = c.oid),
  'leaves', (select json_agg(json_build_object('name', l.relname, 'bound', pg_get_expr(l.relpartbound, l.oid)) order by l.relname) from pg_inherits join pg_class l on l.oid = inhrelid where inhparent = c.oid)
)), '{}') from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and relname !~ '^(pgbench|lakeload)_' and $1 in (0, c.oid)`

// load takes over what the catalogue says. It waits until nobody uses any table.
func (m *model) load(ctx context.Context, conn *pgx.Conn) error {
	all := m.all()
	for _, t := range all {
		t.lock.Lock()
		defer t.lock.Unlock()
	}
	return m.look(ctx, conn)
}

// look takes over what the catalogue says, as the holder of all locks of tables that may have changed.
func (m *model) look(ctx context.Context, conn *pgx.Conn) error {
	shapes, err := shapesOf(ctx, conn, 0)
	if err != nil {
		return err
	}
	var labels []string
	if err := conn.QueryRow(ctx, "select array_agg(enumlabel::text order by enumsortorder) from pg_enum where enumtypid = 'mood'::regtype").Scan(&labels); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.labels = labels
	m.tables = slices.DeleteFunc(m.tables, func(t *table) bool {
		s, ok := shapes[t.oid]
		if !ok {
			t.gone = true
			return true
		}
		delete(shapes, t.oid)
		if !t.same(&s) {
			t.shape = s
		}
		return false
	})
	for oid, s := range shapes {
		m.last++
		m.tables = append(m.tables, &table{rank: m.last, oid: oid, shape: s})
	}
	slices.SortFunc(m.tables, func(a, b *table) int { return a.rank - b.rank })
	return nil
}

func shapesOf(ctx context.Context, conn *pgx.Conn, oid uint32) (shapes map[uint32]shape, err error) {
	var told []byte
	if err := conn.QueryRow(ctx, sqlShapes, oid).Scan(&told); err != nil {
		return nil, err
	}
	return shapes, json.Unmarshal(told, &shapes)
}

// same reports whether nothing has changed: then others may be reading it.
func (t *table) same(s *shape) bool {
	a, _ := json.Marshal(t.shape)
	b, _ := json.Marshal(s)
	return string(a) == string(b)
}

// all are the tables that there are, in the order in which they are locked.
func (m *model) all() []*table {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tables)
}

// name makes a name that nothing in the schema has had.
func (m *model) name(prefix string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	return prefix + strconv.Itoa(m.last)
}

// mood gives a label of the enum.
func (m *model) mood(n int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.labels[n%len(m.labels)]
}

func (t *table) column(name string) *column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// plain are the columns that no key and no partition bound needs.
func (t *table) plain() []column {
	var list []column
	for _, c := range t.Columns {
		if !slices.Contains(t.Key, c.Name) && !slices.Contains(t.Identity, c.Name) && c.Name != t.Divided {
			list = append(list, c)
		}
	}
	return list
}

// changeable reports whether the server takes updates and deletes of the table once it is published.
func (t *table) changeable() bool {
	return t.Replica == "f" || t.Replica == "d" && len(t.Key) > 0 || t.Replica == "i" && len(t.Identity) > 0
}

var number = regexp.MustCompile(`\d+`)

// value is the one value of a leaf's bound; not ok for the default partition.
func (l *leaf) value() (v int, ok bool) {
	v, err := strconv.Atoi(number.FindString(l.Bound))
	return v, err == nil && strings.HasPrefix(l.Bound, "FOR VALUES IN")
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = quote(n)
	}
	return strings.Join(list, ", ")
}
