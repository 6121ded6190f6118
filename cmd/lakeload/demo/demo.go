// Package demo shows the whole of lakeload on one machine, in a minute: a
// private PostgreSQL with a small shop in it that is never still, the mirror
// of it in a local folder, a crash in the middle of a transaction that is far
// larger than the server's decoding memory, and the proof that nothing was
// lost or came twice. The engine runs as a process of its own, so that it can
// be killed for real. Nothing but the lake is left behind.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/lakeload/lakeload/cmd/lakeload/human"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// Options say how the demo is to run. The zero value of a field means its
// default.
type Options struct {
	// Executable is lakeload itself, which is started as `Executable run ...`.
	// Required.
	Executable string
	// Lake is the folder to mirror into. Default: lakeload-demo-<time> in the
	// working directory. It must be empty or not exist.
	Lake string
	// Out gets what is told. Default: nowhere.
	Out io.Writer
	// Terminal says that Out is one: then lines are redrawn, in colour where
	// Color says so.
	Terminal, Color bool
	// Live is how long the shop is watched before the crash. Default 8 s.
	Live time.Duration
	// Postgres is the major version to run; 0 is the newest one found.
	Postgres int
}

func (o *Options) ensureDefaults() {
	if o.Lake == "" {
		o.Lake = "lakeload-demo-" + time.Now().Format("20060102-150405")
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Live == 0 {
		o.Live = 8 * time.Second
	}
}

// Result is what came of it.
type Result struct {
	Lake         string            `json:"lake"`
	Postgres     string            `json:"postgres"` // what ran
	ComparedBy   string            `json:"compared_by"`
	Tables       []TableComparison `json:"tables"`
	Transactions int64             `json:"transactions"` // of the workload, committed
	Changes      int64             `json:"changes"`      // rows that they inserted, updated and deleted
	BigRows      int64             `json:"big_transaction_rows"`
	BigBytes     int64             `json:"big_transaction_bytes"`
	Epochs       int64             `json:"epochs"`
	Freshness    Freshness         `json:"freshness"`
	Recovery     time.Duration     `json:"recovery_ns"` // from the kill to the first commit after it
}

// TableComparison is what the comparison found of one table.
type TableComparison struct {
	Table      string   `json:"table"`
	SourceRows int64    `json:"source_rows"`
	LakeRows   int64    `json:"lake_rows"`
	OnlySource []string `json:"only_in_source"` // some of them
	OnlyLake   []string `json:"only_in_lake"`
}

func (t *TableComparison) equal() bool {
	return t.SourceRows == t.LakeRows && len(t.OnlySource) == 0 && len(t.OnlyLake) == 0
}

// ErrDiffers says that source and lake are not equal in the end.
var ErrDiffers = errors.New("the lake differs from the source")

// demo is one run.
type demo struct {
	o      Options
	screen *screen
	server *pgserver.Server
	shop   *shop
	engine *engine
	poller *poller
	result Result
}

// Run runs the demo. When it returns, server and engine are gone, also where
// ctx ended it. The result is meaningful where the error is nil or ErrDiffers.
func Run(ctx context.Context, o Options) (result *Result, err error) {
	o.ensureDefaults()
	if o.Lake, err = filepath.Abs(o.Lake); err != nil {
		return nil, fmt.Errorf("finding the folder of the lake: %w", err)
	}
	if err := wantEmpty(o.Lake); err != nil {
		return nil, err
	}
	d := &demo{o: o, screen: newScreen(o)}
	d.result.Lake = o.Lake
	defer func() { err = errors.Join(err, d.close(context.WithoutCancel(ctx))) }()
	d.screen.title("lakeload: a shop in PostgreSQL, its mirror in a lake, a crash between them")
	for _, step := range []func(context.Context) error{
		d.startServer, d.openShop, d.copyShop, d.watch, d.crash, d.settle, d.compare,
	} {
		if err := step(ctx); err != nil {
			d.screen.failed()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return &d.result, err
		}
	}
	return &d.result, nil
}

func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("looking at the folder of the lake: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("the folder %s is not empty: name another with --lake", dir)
	}
	return nil
}

// close ends what still runs, in the order of who uses whom.
func (d *demo) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var errs []error
	if d.shop != nil {
		d.shop.stop()
	}
	if d.engine != nil {
		d.engine.kill()
	}
	if d.poller != nil {
		d.poller.stop()
	}
	if d.shop != nil {
		errs = append(errs, d.shop.close(ctx))
	}
	if d.server != nil {
		errs = append(errs, d.server.Stop(ctx))
	}
	d.screen.close()
	return errors.Join(errs...)
}

func (d *demo) startServer(ctx context.Context) (err error) {
	s := d.screen.step("starting a private PostgreSQL (fetching one if there is none here)")
	d.server, err = pgserver.Start(ctx, pgserver.Options{
		Version: d.o.Postgres,
		// Others on this machine can reach 127.0.0.1, too.
		Password: rand.Text(),
		Settings: map[string]string{"logical_decoding_work_mem": decodingMemory},
	})
	if err != nil {
		return err
	}
	d.result.Postgres = fmt.Sprintf("PostgreSQL %d", d.server.Version())
	s.done("%s runs privately on 127.0.0.1:%d, its decoding memory set to %s", d.result.Postgres, d.server.Port(), decodingMemory)
	return nil
}

func (d *demo) openShop(ctx context.Context) (err error) {
	s := d.screen.step("filling a shop")
	if d.shop, err = openShop(ctx, d.server.DSN()); err != nil {
		return err
	}
	rows, err := d.shop.fill(ctx)
	if err != nil {
		return err
	}
	if err := d.shop.open(ctx); err != nil {
		return err
	}
	s.done("a shop of %s rows in %d tables is open, with %d clients at work", human.Count(rows), len(tables), writers)
	return nil
}

func (d *demo) copyShop(ctx context.Context) error {
	s := d.screen.step("copying it")
	d.engine = newEngine(d.o.Executable, d.server.DSN(), d.o.Lake)
	if err := d.engine.start(); err != nil {
		return err
	}
	err := d.wait(ctx, "the initial copy", func(e engineState) bool {
		s.say("copying: %s rows of %d tables so far", human.Count(e.copied), len(tables))
		return e.tablesCopied >= len(tables) && e.batches > 0
	})
	if err != nil {
		return err
	}
	e := d.engine.state()
	d.poller = newPoller(filepath.Join(d.o.Lake, "public", "orders"))
	d.shop.sample(d.poller)
	s.done("copied %s rows to %s while they changed", human.Count(e.copied), filepath.Base(d.o.Lake))
	return nil
}

// watch lets shop and mirror run for a while.
func (d *demo) watch(ctx context.Context) error {
	s := d.screen.step("streaming")
	before := d.shop.changes()
	start := time.Now()
	for time.Since(start) < d.o.Live {
		if err := d.pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		d.sayStream(s, before, start)
	}
	changes := d.shop.changes() - before
	f := d.poller.freshness()
	s.done("streamed %s changes, %s a second, visible %s after their commit (median)",
		human.Count(changes), human.Count(int64(float64(changes)/time.Since(start).Seconds())), human.Seconds(f.P50))
	return nil
}

func (d *demo) sayStream(s *step, before int64, start time.Time) {
	changes := d.shop.changes() - before
	s.say("streaming: %s changes, %s a second, %d epochs, visible %s after their commit", human.Count(changes),
		human.Count(int64(float64(changes)/time.Since(start).Seconds())), d.engine.state().epoch, human.Seconds(d.poller.freshness().Last))
}

// crash kills the engine with the big transaction half done, and starts it again.
func (d *demo) crash(ctx context.Context) error {
	s := d.screen.step("one large transaction")
	big, err := d.shop.beginBig(ctx)
	if err != nil {
		return err
	}
	defer big.close(context.WithoutCancel(ctx))
	half := func(from, to int) error {
		for i := from; i < to; i++ {
			if err := big.part(ctx, i); err != nil {
				return err
			}
			s.say("one transaction: %s rows changed so far, not committed", human.Count(big.rows))
		}
		return nil
	}
	if err := half(0, bigParts/2); err != nil {
		return err
	}
	if err := d.pause(ctx, 500*time.Millisecond); err != nil { // its stream is under way
		return err
	}
	killed := time.Now()
	d.engine.kill()
	if err := sleep(ctx, 10*pollEvery); err != nil { // the poller sees what was there before
		return err
	}
	d.poller.crashed(killed)
	s.done("killed the engine (SIGKILL) with %s rows of an open transaction on their way", human.Count(big.rows))

	s = d.screen.step("starting it again")
	if err := d.engine.start(); err != nil {
		return err
	}
	if err := half(bigParts/2, bigParts); err != nil {
		return err
	}
	if err := big.commit(ctx); err != nil {
		return err
	}
	d.result.BigRows, d.result.BigBytes = big.rows, big.bytes
	s.say("committed one transaction of %s rows; waiting for it", human.Count(big.rows))
	err = d.wait(ctx, "the large transaction", func(engineState) bool { return d.poller.reached(big.before) })
	if err != nil {
		return err
	}
	d.result.Recovery = d.poller.recovery()
	s.done("it went on %s after the kill; the transaction came whole: %s row changes, %s, %.0f times the decoding memory",
		human.Seconds(d.result.Recovery), human.Count(big.rows), human.Bytes(big.bytes), float64(big.bytes)/decodingBytes)

	s = d.screen.step("streaming on")
	before, start := d.shop.changes(), time.Now()
	for time.Since(start) < d.o.Live/3 {
		if err := d.pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		d.sayStream(s, before, start)
	}
	s.done("streamed on, visible %s after their commit again", human.Seconds(d.poller.freshness().Last))
	return nil
}

// settle closes the shop and lets the lake become current: the running engine
// flushes and ends, then another run ends by itself when nothing is missing.
func (d *demo) settle(ctx context.Context) error {
	s := d.screen.step("closing the shop and waiting until the lake is current")
	d.shop.stop()
	if err := d.shop.failure(); err != nil {
		return err
	}
	d.poller.stop()
	d.result.Freshness = d.poller.freshness()
	if err := d.engine.stop(ctx); err != nil {
		return err
	}
	if err := d.engine.start("--until-current"); err != nil {
		return err
	}
	if err := d.engine.finish(ctx); err != nil {
		return err
	}
	d.result.Transactions, d.result.Changes, d.result.Epochs = d.shop.transactions(), d.shop.changes(), d.engine.state().epoch
	s.done("the shop is closed after %s transactions, the lake is current at epoch %d", human.Count(d.result.Transactions), d.result.Epochs)
	return nil
}

// pause waits, but not for an engine or a shop that has failed.
func (d *demo) pause(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.engine.died():
		return d.engine.failure()
	case <-time.After(t):
		return d.shop.failure()
	}
}

func sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

// waitMax is how long a step may take that takes a second or two.
const waitMax = 60 * time.Second

func (d *demo) wait(ctx context.Context, what string, until func(engineState) bool) error {
	deadline := time.Now().Add(waitMax)
	for !until(d.engine.state()) {
		if err := d.pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		if e := d.engine.state(); e.stoppedTable != "" {
			return fmt.Errorf("the engine stopped the table %s", e.stoppedTable)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: not there after %v; the engine last said:\n%s", what, waitMax, d.engine.said())
		}
	}
	return nil
}
