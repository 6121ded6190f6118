package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
)

// screen tells the steps: on a terminal as one line each that moves until it
// is done, elsewhere as plain lines.
type screen struct {
	w     io.Writer
	live  bool
	color bool

	mu   sync.Mutex
	now  *step
	spin int
	drew time.Time
}

// step is one line. The step begun last is the one that moves.
type step struct {
	s     *screen
	start time.Time
	text  string
	over  bool
}

func newScreen(o Options) *screen {
	return &screen{w: o.Out, live: o.Terminal, color: o.Terminal && o.Color}
}

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (s *screen) title(text string) { s.line(s.paint(bold, text) + "\n") }

// line writes a line of its own.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// step begins a step; one that still moves is left out of the record.
func (s *screen) step(text string) *step {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = &step{s: s, start: time.Now(), text: text}
	if s.live {
		s.draw(true)
	} else {
		fmt.Fprintf(s.w, "  ... %s\n", text)
	}
	return s.now
}

// say changes what a moving step says.
func (st *step) say(format string, args ...any) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.text = fmt.Sprintf(format, args...)
	if st.s.live && st.s.now == st {
		st.s.draw(false)
	}
}

// done ends the step with what came of it.
func (st *step) done(format string, args ...any) {
	st.end(green, "✓", "ok", fmt.Sprintf(format, args...))
}

func (st *step) end(code, mark, plain, text string) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.over {
		return
	}
	st.over = true
	if s.now == st {
		s.now = nil
	}
	took := human.Seconds(time.Since(st.start))
	if s.live {
		s.clear()
		fmt.Fprintf(s.w, "  %s %s  %s\n", s.paint(code, mark), text, s.paint(faint, took))
		return
	}
	fmt.Fprintf(s.w, "  %-3s %s (%s)\n", plain, text, took)
}

// failed ends the step that moves, as failed.
func (s *screen) failed() {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	if now != nil {
		now.end(red, "✗", "NO", now.text)
	}
}

// close leaves the cursor where the next program wants it.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.now = nil
}

func (s *screen) clear() {
	if s.live {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

const (
	redrawEvery  = 90 * time.Millisecond
	lineRunesMax = 110
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (s *screen) draw(force bool) {
	if !force && time.Since(s.drew) < redrawEvery {
		return
	}
	s.drew = time.Now()
	s.spin = (s.spin + 1) % len(spinner)
	text := s.now.text
	if utf8.RuneCountInString(text) > lineRunesMax { // a wrapped line could not be redrawn
		text = string([]rune(text)[:lineRunesMax]) + "…"
	}
	s.clear()
	fmt.Fprintf(s.w, "  %s %s", s.paint(bold, string(spinner[s.spin])), text)
}

// indent sets every line of a text in.
func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by)
}
