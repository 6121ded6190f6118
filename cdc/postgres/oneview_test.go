package postgres

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// interrupted is a connection in front of one of whose writes something else
// happens.
type interrupted struct {
	net.Conn
	before func()
}

func (c *interrupted) Write(b []byte) (int, error) {
	c.before()
	return c.Conn.Write(b)
}

// What the catalogue says of a table is of one moment, wherever between the
// questions the table is altered. Columns from before an ALTER TABLE beside
// files from after it would make its rows look as if nobody had written them
// anew, and the values of its new column would be taken for NULL.
func TestEdge43TheCatalogueIsReadInOneView(t *testing.T) {
	d := newDatabase(t)
	ctx := testContext(t)
	for name, read := range map[string]func(s *Source, rel *cdc.Relation) *cdc.Relation{
		"the tables": func(s *Source, rel *cdc.Relation) *cdc.Relation {
			rels, err := s.Tables(ctx)
			require.NoError(t, err)
			for _, r := range rels {
				if r.OID == rel.OID {
					return r
				}
			}
			return nil
		},
		"a table of the stream": func(s *Source, rel *cdc.Relation) *cdc.Relation {
			msg := relationMessage{OID: rel.OID, Schema: rel.Schema, Name: rel.Name, Identity: rel.Identity}
			for _, c := range rel.Columns {
				msg.Columns = append(msg.Columns, relationColumn{Name: c.Name, TypeOID: c.TypeOID, TypeMod: c.TypeMod})
			}
			info, err := s.resolver.tableByOID(ctx, rel.OID, msg)
			require.NoError(t, err)
			return info.rel
		},
		"a look": func(s *Source, rel *cdc.Relation) *cdc.Relation {
			looks, err := s.Look(ctx, []uint32{rel.OID})
			require.NoError(t, err)
			return looks[rel.OID].Relation
		},
	} {
		t.Run(name, func(t *testing.T) {
			writes, seen := 0, map[bool]int{}
			for alterAt := 1; alterAt <= max(writes, 1); alterAt++ {
				d.exec("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
				s := d.open()
				was, err := s.Tables(ctx)
				require.NoError(t, err)
				require.Len(t, was, 1)
				asked, at := 0, alterAt
				s.connector.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					var dialer net.Dialer
					conn, err := dialer.DialContext(ctx, network, addr)
					return &interrupted{conn, func() {
						if asked++; asked == at {
							d.exec("ALTER TABLE t ADD y uuid DEFAULT gen_random_uuid()")
						}
					}}, err
				}
				require.NoError(t, s.admin.reset(ctx))
				is := read(s, was[0])
				writes, asked = asked, at // what comes after it does not count
				rewritten := is.Rewritten(was[0].Files)
				require.Equal(t, rewritten, is.Ahead || len(is.Columns) == 2, "the files and the columns are of one moment, altered before write %d: %s", alterAt, fmt.Sprint(is.Files, is.Columns))
				seen[rewritten]++
			}
			require.Positive(t, seen[true])
			require.Positive(t, seen[false])
			require.Greater(t, writes, 5, "it asks more than one question")
		})
	}
}
