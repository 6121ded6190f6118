package pgserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFetchRefusesDamage(t *testing.T) {
	if platform() == "" {
		t.Skip("left out: no builds to fetch for this machine")
	}
	status := http.StatusOK
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("not a jar"))
	}))
	defer mirror.Close()
	cache := t.TempDir()
	t.Setenv("LAKELOAD_PG_CACHE", cache)
	t.Setenv("LAKELOAD_MAVEN_URL", mirror.URL+"/")

	_, err := fetchVersion(context.Background(), 14)
	require.ErrorContains(t, err, "SHA-256")

	status = http.StatusNotFound
	_, err = fetchVersion(context.Background(), 14)
	require.ErrorContains(t, err, "404")
	require.ErrorContains(t, err, "LAKELOAD_MAVEN_URL")

	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left)
}
