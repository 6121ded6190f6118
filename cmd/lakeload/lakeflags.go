package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// lakeFlags say which lake a command reads.
type lakeFlags struct {
	c      *console
	lake   string
	name   string
	config string
	clones []string // folders that a shallow clone's files may lie in
}

func (f *lakeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.lake, "lake", "", "the lake's folder")
	flags.StringVar(&f.name, "name", "", "the pipeline; not needed where the lake has one")
	flags.StringVarP(&f.config, "config", "c", "", "take what no flag says from this lakeload.yaml")
}

// registerClones is for commands that read what lies outside of a table's folder.
func (f *lakeFlags) registerClones(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.clones, "follow-clones", nil, "read files of a shallow clone's source, too, where they lie below these folders")
}

// load fills in what the configuration file says and no flag does.
func (f *lakeFlags) load() (*config.Config, error) {
	if f.config == "" {
		return &config.Config{}, nil
	}
	conf, err := loadConfig(f.c, f.config)
	if err != nil {
		return nil, err
	}
	if f.lake == "" {
		f.lake = conf.Lake.URL
		if f.name == "" {
			f.name = conf.Name
		}
	}
	return conf, nil
}

func loadConfig(c *console, path string) (*config.Config, error) {
	conf, err := config.Load(path, c.getenv)
	var fault *config.Fault
	if errors.As(err, &fault) {
		return nil, usageErrorf("mend the lines named; docs/CLI.md lists all keys", "the configuration is not right:\n%w", err)
	}
	if err != nil {
		return nil, usageErrorf("see that -c names a file that this user may read", "%w", err)
	}
	return conf, nil
}

// store opens the lake's store.
func (f *lakeFlags) store() (*objstore.Local, error) {
	if f.lake == "" {
		return nil, usageErrorf("name it with --lake ./lake, or in a configuration file with -c", "which lake is meant is not said")
	}
	return openStore(f.lake)
}

// openStore opens a folder. It is made by the first write.
func openStore(location string) (*objstore.Local, error) {
	if path, ok := strings.CutPrefix(location, "file://"); ok {
		location = path
	}
	if scheme, _, ok := strings.Cut(location, "://"); ok {
		return nil, usageErrorf("name a folder of this machine", "locations of the kind %s:// are not supported by this version", scheme)
	}
	store, err := objstore.NewLocal(location)
	if err != nil {
		return nil, failedf("see that it is a folder and that this user may open it", "opening the lake: %w", err)
	}
	return store, nil
}

// open opens the lake for reading. close gives its store back.
func (f *lakeFlags) open(ctx context.Context) (lake *lakehouse.Lake, closeStore func(), err error) {
	if _, err := f.load(); err != nil {
		return nil, nil, err
	}
	store, err := f.store()
	if err != nil {
		return nil, nil, err
	}
	if lake, err = lakehouse.OpenLake(ctx, store, f.name); err != nil {
		_ = store.Close() // it was only read
		return nil, nil, err
	}
	return lake, func() { _ = store.Close() }, nil
}

// target is the table that a command was told to work on: one of a lake, or
// any Delta table by its path.
type target struct {
	name  string
	loc   tablefmt.Location
	lake  *lakehouse.Lake      // nil where it was named by its path
	table *lakehouse.LakeTable // likewise
	epoch *epoch.Epoch         // that decided what was loaded; nil where none did
	close func()
}

// target finds the table T: a name of the lake, or a path.
func (f *lakeFlags) target(ctx context.Context, name string) (*target, error) {
	if !isPath(name) {
		if f.lake == "" && f.config == "" {
			return nil, usageErrorf("name the lake with --lake, or write the path of a table's folder, as in ./lake/public/orders",
				"%q is no path of a table, and no lake is named", name)
		}
		lake, closeStore, err := f.open(ctx)
		if err != nil {
			return nil, err
		}
		t, err := lake.Table(name)
		if err != nil {
			closeStore()
			return nil, err
		}
		return &target{name: t.Name, loc: lake.Location(t), lake: lake, table: &t, close: closeStore}, nil
	}
	store, err := openStore(name)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, loc: tablefmt.Location{Data: store}, close: func() { _ = store.Close() }}
	if len(f.clones) > 0 {
		outside, closeOutside, err := tablefmt.LocalOutside(f.clones...)
		if err != nil {
			t.close()
			return nil, usageErrorf("name folders of this machine with --follow-clones", "opening what a clone's files may lie in: %w", err)
		}
		t.loc.Outside = outside
		t.close = func() { _ = errors.Join(closeOutside(), store.Close()) } // they were only read
	}
	return t, nil
}

// isPath tells a table's path from its name: by a separator or a scheme, or
// because there is such a folder with a Delta log in it.
func isPath(s string) bool {
	if strings.ContainsAny(s, `/\`) || strings.Contains(s, "://") {
		return true
	}
	info, err := os.Stat(filepath.Join(s, "_delta_log"))
	return err == nil && info.IsDir()
}

// load gives the table's snapshot at a state.
func (t *target) load(ctx context.Context, at lakehouse.At) (*tablefmt.Snapshot, error) {
	var snap *tablefmt.Snapshot
	var err error
	if t.lake != nil {
		snap, t.epoch, err = t.lake.Load(ctx, *t.table, at)
	} else {
		snap, err = lakehouse.LoadTable(ctx, t.loc, at)
	}
	return snap, explainTable(err, t.name)
}

// explain adds what to do about rows of a snapshot that cannot be read.
func (t *target) explain(ctx context.Context, snap *tablefmt.Snapshot, err error) error {
	if err != nil && t.lake != nil {
		err = t.lake.Explain(ctx, *t.table, snap, t.epoch, err)
	}
	return explainTable(err, t.name)
}

// explainTable adds what to do about a table that cannot be read.
func explainTable(err error, name string) error {
	var unsupported *tablefmt.UnsupportedFeatureError
	var outside *tablefmt.OutsideError
	switch {
	case err == nil || hintOf(err) != "":
		return err
	case errors.As(err, &outside):
		return failedf("name the folder of the table that it was cloned from with --follow-clones", "reading %s: %w", name, err)
	case errors.Is(err, tablefmt.ErrNoTable):
		return failedf("see that the path names the folder that holds _delta_log", "reading %s: %w", name, err)
	case errors.Is(err, tablefmt.ErrNoVersion):
		return failedf("`lakeload history "+name+"` lists the versions that there are", "reading %s: %w", name, err)
	case errors.As(err, &unsupported):
		return failedf("read it with a program that knows this feature", "reading %s: %w", name, err)
	case errors.Is(err, tablefmt.ErrCorrupt):
		return &failure{
			code: exitDamaged, err: fmt.Errorf("reading %s: %w", name, err),
			remedy: "restore the file named from a backup; an older version may still be readable: try --version",
		}
	}
	return err
}
