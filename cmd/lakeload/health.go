package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cmd/lakeload/admin"
	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/lakehouse"
)

// healthJSON is what a running engine tells of its last minutes. Where none
// runs on this machine, that alone.
type healthJSON struct {
	Running bool `json:"running"`
	// Error says why an engine that is there did not tell anything.
	Error     string `json:"error,omitempty"`
	Streaming bool   `json:"streaming"`
	*lakehouse.Health
}

// healthWait bounds how long an engine is waited for. It asks nobody itself.
const healthWait = 5 * time.Second

// health asks the engine of a pipeline, if one runs on this machine.
func (f *statusFlags) health(ctx context.Context, pipeline string) (h healthJSON, err error) {
	store, err := f.lake.store()
	if err != nil {
		return h, err
	}
	defer func() { _ = store.Close() }() // only its place was asked for
	client := admin.NewClient(admin.SocketPath(first(f.cacheDir, cacheFolder(store.URL(), pipeline))))
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	status, err := client.Status(ctx)
	switch {
	case errors.Is(err, admin.ErrNoEngine):
		return h, nil
	case err != nil:
		return healthJSON{Running: true, Error: err.Error()}, nil
	}
	return healthJSON{Running: true, Streaming: status.Streaming, Health: status.Health}, nil
}

// textWindow is the place of the window that is told to people: five minutes.
const textWindow = 1

// text tells it for people, in one line.
func (h *healthJSON) text() string {
	switch {
	case !h.Running:
		return "none runs on this machine"
	case h.Error != "":
		return "one is there and does not answer: " + h.Error
	case h.Health == nil:
		return "one runs, and is of another version than this program"
	}
	parts := []string{string(h.Activity)}
	if t := h.Trouble; t != nil {
		parts[0] += fmt.Sprintf(" (%s failed %s: %s)", t.What, human.Plural(int64(t.Times), "time"), t.Err)
	}
	if len(h.Windows) > textWindow {
		w := h.Windows[textWindow]
		parts = append(parts, fmt.Sprintf("in the last %s %s, %.1f/s", seconds(w.Covered), human.Plural(w.Records, "row"), w.RecordsPerSecond))
		if w.LatencyP50 != nil {
			parts = append(parts, fmt.Sprintf("visible %s after their commit, %s at most for 99 in 100", seconds(*w.LatencyP50), seconds(*w.LatencyP99)))
		}
		parts = append(parts, human.Plural(w.Failures, "failure"))
	}
	for _, a := range h.Alerts {
		parts = append(parts, "ALERT "+a.Kind+": "+a.Message)
	}
	return strings.Join(parts, "; ")
}

// seconds writes a length of time for people.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
