package mask

import (
	"sync"

	"github.com/lakeload/lakeload/cdc"
)

// hosted remembers who a source said that it was.
type hosted struct {
	mu sync.Mutex
	id cdc.Identity
}

func (h *hosted) set(id cdc.Identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.id = id
}

func (h *hosted) get() cdc.Identity {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}
