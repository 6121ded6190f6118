package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// ErrNoEngine says that nobody listens on the socket.
var ErrNoEngine = errors.New("no engine answers on this machine")

// Error is what an engine answered that is no success.
type Error struct {
	Op     string
	Text   string
	Remedy string
}

func (e *Error) Error() string { return e.Op + ": " + e.Text }

// Hint is what to do about it; may be empty.
func (e *Error) Hint() string { return e.Remedy }

// Client asks an engine. It may be used by many goroutines.
type Client struct {
	http *http.Client
}

// NewClient is for the engine that listens on a socket.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w (%s): %w", ErrNoEngine, path, err)
		}
		return conn, err
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close gives the connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the engine's account of itself.
func (c *Client) Status(ctx context.Context) (s lakehouse.Status, err error) {
	return s, c.ask(ctx, "asking the engine how it is", http.MethodGet, "/v1/status", nil, &s)
}

// Act is [lakehouse.Engine.Act] of the engine.
func (c *Client) Act(ctx context.Context, table string, action lakehouse.TableAction) (is lakehouse.TableState, err error) {
	path := "/v1/tables/" + url.PathEscape(table) + "/" + url.PathEscape(string(action))
	return is, c.ask(ctx, "asking the engine to "+string(action)+" "+table, http.MethodPost, path, nil, &is)
}

// Cut is [lakehouse.Engine.Cut] of the engine. The engine's stream rests while
// point runs.
func (c *Client) Cut(ctx context.Context, at func(ctx context.Context) (cdc.LSN, error)) (cut lakehouse.Cut, err error) {
	const op = "having the engine show one position"
	var h held
	if err := c.ask(ctx, op, http.MethodPost, "/v1/cuts", nil, &h); err != nil {
		return cut, err
	}
	lsn, err := at(ctx)
	if err != nil {
		_ = c.ask(context.WithoutCancel(ctx), op, http.MethodDelete, "/v1/cuts/"+h.ID, nil, &struct{}{}) // it lets go by itself, too
		return cut, err
	}
	return cut, c.ask(ctx, op, http.MethodPost, "/v1/cuts/"+h.ID, point{lsn}, &cut)
}

func (c *Client) ask(ctx context.Context, op, method, path string, body, into any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, &text)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.NewDecoder(resp.Body).Decode(&f) != nil {
			f.Error = resp.Status
		}
		return &Error{Op: op, Text: f.Error, Remedy: f.Remedy}
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("%s: reading the answer: %w", op, err)
	}
	return nil
}
