package objstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/objstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLocal(t *testing.T) *objstore.Local {
	l, err := objstore.NewLocal(t.TempDir() + "/lake")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func TestConformance(t *testing.T) {
	stores := map[string]func(t *testing.T) objstore.Store{
		"local":  func(t *testing.T) objstore.Store { return newLocal(t) },
		"memory": func(t *testing.T) objstore.Store { return objstore.NewMemory() },
		"sub of local": func(t *testing.T) objstore.Store {
			return objstore.Sub(newLocal(t), "public/orders")
		},
		"sub of memory with neighbours": func(t *testing.T) objstore.Store {
			m := objstore.NewMemory()
			for _, p := range []string{"a", "public/orders.old/x", "public/orders0", "z"} {
				require.NoError(t, m.Put(t.Context(), p, nil))
			}
			return objstore.Sub(objstore.Sub(m, "public"), "orders")
		},
		"local without sync": func(t *testing.T) objstore.Store {
			l, err := objstore.OpenLocal(t.TempDir(), objstore.LocalOptions{NoSync: true})
			require.NoError(t, err)
			return l
		},
		"faultstore without rules": func(t *testing.T) objstore.Store {
			s, err := faultstore.New(objstore.NewMemory())
			require.NoError(t, err)
			return s
		},
		"retry over faults": func(t *testing.T) objstore.Store {
			s, err := faultstore.New(objstore.NewMemory(),
				faultstore.Rule{Op: faultstore.OpGet, Nth: 2, Transient: true},
				faultstore.Rule{Op: faultstore.OpPutIfAbsent, Transient: true},
				faultstore.Rule{Op: faultstore.OpReadAt, Nth: 3, Transient: true},
				faultstore.Rule{Op: faultstore.OpList, Do: faultstore.Short, Entries: 2, Err: faultstore.ErrInjected, Transient: true},
				faultstore.Rule{Op: faultstore.OpCreate, Transient: true})
			require.NoError(t, err)
			return objstore.Retry(s, objstore.RetryPolicy{First: time.Microsecond})
		},
		"observed": func(t *testing.T) objstore.Store {
			return objstore.Observe(objstore.NewMemory(), func(string, error) {})
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objstoretest.Run(t, open)
		})
	}
}
