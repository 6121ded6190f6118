package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/where"
)

// repair is what is asked of a table's repair.
type repair struct {
	Where   string `json:"where,omitempty"` // "": of all rows
	Workers int    `json:"workers,omitempty"`
}

// Repair is [lakehouse.Engine.Repair] of the engine. When ctx ends the engine
// gives it up, and the table stays as it was.
func (c *Client) Repair(ctx context.Context, table, condition string, workers int) (*lakehouse.Repaired, error) {
	done := &lakehouse.Repaired{}
	return done, c.ask(ctx, "having the engine repair "+table, http.MethodPost, "/v1/tables/"+url.PathEscape(table)+"/repair", repair{condition, workers}, done)
}

func (s *Server) repair(w http.ResponseWriter, r *http.Request) {
	var asked repair
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		answer(w, nil, fmt.Errorf("reading what is to be repaired: %w", err))
		return
	}
	o := lakehouse.RepairOptions{Workers: asked.Workers}
	if asked.Where != "" {
		var err error
		if o.Where, err = where.Parse(asked.Where); err != nil {
			answer(w, nil, fmt.Errorf("reading the condition: %w", err))
			return
		}
	}
	done, err := s.engine.Repair(r.Context(), r.PathValue("table"), o)
	answer(w, done, err)
}
