package lakehouse

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// AlertSeverity says how bad it is.
type AlertSeverity string

// The severities.
const (
	AlertWarning  AlertSeverity = "warning"  // it will go wrong, if nobody does anything
	AlertCritical AlertSeverity = "critical" // it goes wrong
	AlertResolved AlertSeverity = "resolved" // it is over
)

// The kinds of alerts that the engine raises. Values and limits are bytes, and
// seconds of a store that cannot be reached.
const (
	AlertSpool = "spool_nearly_full"
	AlertStore = "store_unreachable"
	// AlertWAL is about the log that the source keeps; in seconds where the guard's
	// limit is one of time.
	AlertWAL = "wal_held"
)

// InfrastructureAlert is told when something around the engine is about to stop
// it, again when that becomes worse or less bad, and once more, as resolved,
// when it is over.
type InfrastructureAlert struct {
	Kind     string        `json:"kind"`
	Severity AlertSeverity `json:"severity"`
	Message  string        `json:"message"`
	Remedy   string        `json:"remedy"` // empty when it is over
	// Value is what was found, and Limit what it was held against, in the unit of
	// the kind.
	Value int64 `json:"value"`
	Limit int64 `json:"limit"`
}

// alerts are those that stand. The zero value has none. It may be used by many
// goroutines.
type alerts struct {
	mu    sync.Mutex
	stand map[string]InfrastructureAlert
}

// raise notes that an alert stands, and reports whether that is news.
func (a *alerts) raise(alert InfrastructureAlert) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stand == nil {
		a.stand = map[string]InfrastructureAlert{}
	}
	old, stood := a.stand[alert.Kind]
	a.stand[alert.Kind] = alert
	return !stood || old.Severity != alert.Severity
}

// resolve notes that none of a kind stands, and reports whether one did.
func (a *alerts) resolve(kind string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, stood := a.stand[kind]
	delete(a.stand, kind)
	return stood
}

// list has those that stand, by their kinds.
func (a *alerts) list() []InfrastructureAlert {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]InfrastructureAlert, 0, len(a.stand))
	for _, alert := range a.stand {
		out = append(out, alert)
	}
	slices.SortFunc(out, func(a, b InfrastructureAlert) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

// alert raises an alert, or tells of it again as something has changed. One that
// stands as it is is not told again. It may be called by any goroutine.
func (e *Engine) alert(a InfrastructureAlert) {
	if e.alerts.raise(a) {
		e.tellAlert(a)
	}
}

// resolve tells that what an alert of the kind told is over, if one stands.
func (e *Engine) resolve(a InfrastructureAlert) {
	if e.alerts.resolve(a.Kind) {
		a.Severity, a.Remedy = AlertResolved, ""
		e.tellAlert(a)
	}
}

// tellAlert tells the listener, or the log where there is none.
func (e *Engine) tellAlert(a InfrastructureAlert) {
	if e.opt.Events.InfrastructureAlert != nil {
		e.opt.Events.InfrastructureAlert(a)
		return
	}
	e.opt.Log.Warn(a.Message, "alert", a.Kind, "severity", a.Severity, "what_to_do", a.Remedy)
}

// What the spool may be filled to before it is told, and to what it has to fall
// until that is over, in parts of a hundred; and how long the store may fail.
const (
	spoolWarn    = 80
	spoolOver    = 70
	storePatient = 30 * time.Second
)
