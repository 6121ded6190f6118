package lakehouse_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
)

// Somebody gives a mirror's columns other names in files, or allows that types
// widen: the table stops before a row is written under a name that is not its
// own, and another one goes on.
func TestMirrorsThatSomebodyMaps(t *testing.T) {
	for feature, property := range map[string]string{"columnMapping": tablefmt.PropMappingMode + "=name", "typeWidening": tablefmt.PropTypeWidening + "=true"} {
		t.Run(feature, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 20)
				r.insert("u", 0, 20)
				r.catchUp()
				s, err := tablefmt.Load(t.Context(), r.mirror("t"))
				require.NoError(t, err)
				p, err := s.Protocol().With(feature)
				require.NoError(t, err)
				m := s.Metadata().Clone()
				key, value, _ := strings.Cut(property, "=")
				m.Configuration[key] = value
				require.NoError(t, m.SetSchema(s.Schema()))
				x := tablefmt.Begin(r.mirror("t"), s)
				x.SetProtocol(p)
				x.SetMetadata(m)
				mapped, err := x.Commit(t.Context())
				require.NoError(t, err)

				r.insert("t", 20, 25)
				r.insert("u", 20, 25)
				r.catchUp()
				require.Contains(t, r.state("t").Reason, feature)
				r.same("u")
				now, err := tablefmt.Load(t.Context(), r.mirror("t"))
				require.NoError(t, err)
				require.Equal(t, mapped.Version(), now.Version(), "nothing was written")
				r.staysStopped("t")
				r.resync("t")
				r.catchUp()
				require.Contains(t, r.state("t").Reason, feature, "the copy would have to become a version of that table")
			})
		})
	}
}
