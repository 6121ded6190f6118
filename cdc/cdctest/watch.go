package cdctest

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

var _ cdc.Watcher = (*Source)(nil)

// lookText is the form of Look.Text.
type lookText struct {
	Columns []string `json:"columns"`
	Changed int      `json:"changed"` // how often rows were changed without a word
}

// Look tells of tables what is true of them now.
func (s *Source) Look(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if late, err := s.enter(ctx, "Look"); err != nil {
		return nil, err
	} else if late != nil {
		return nil, late.err("Look")
	}
	looks := map[uint32]cdc.Look{}
	for _, oid := range oids {
		t := s.w.tableByOID(oid)
		if t == nil || t.dropped != 0 {
			continue
		}
		text := lookText{Changed: t.silent}
		for _, c := range t.content.rel.Columns {
			text.Columns = append(text.Columns, c.Name+" "+c.SourceType)
		}
		b, err := json.Marshal(text)
		if err != nil {
			return nil, operator("Look", err)
		}
		looks[oid] = cdc.Look{Relation: s.w.shown(reshaped(t.content.rel)), Text: string(b)}
	}
	return looks, nil
}

// Compare tells of rows that were changed by Tx.Rewrite.
func (s *Source) Compare(_ context.Context, was, is cdc.Look) ([]cdc.Notice, error) {
	var a, b lookText
	if err := json.Unmarshal([]byte(was.Text), &a); err != nil {
		return nil, operator("Compare", err)
	}
	if err := json.Unmarshal([]byte(is.Text), &b); err != nil {
		return nil, operator("Compare", err)
	}
	if a.Changed == b.Changed || !slices.Equal(a.Columns, b.Columns) {
		return nil, nil
	}
	return []cdc.Notice{{Kind: cdc.NoticeRewrite, Text: "its rows were written anew"}}, nil
}
