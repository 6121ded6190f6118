package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Load reads a file. The error lists every fault of it, each a *Fault in an
// error made by errors.Join.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(path, text, env)
	if err != nil {
		return nil, err
	}
	files := []*string{&c.Source.PasswordFile}
	for i := range c.Tables {
		files = append(files, &c.Tables[i].SaltFile)
	}
	for _, f := range files {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(filepath.Dir(path), *f)
		}
	}
	return c, nil
}

// Parse reads the text of a file; path is for messages.
func Parse(path string, text []byte, env func(string) (string, bool)) (*Config, error) {
	d := &decoder{file: path, env: env}
	c := &Config{Path: path}
	seenVersion := false
	root := keys{
		"version": func(n *yaml.Node) {
			seenVersion = true
			if n.Value != fmt.Sprint(version) {
				d.fault(n, "version %s is not known: this program reads version %d", n.Value, version)
			}
		},
		"name":     d.text(&c.Name),
		"source":   d.source(&c.Source),
		"lake":     d.lake(&c.Lake),
		"defaults": d.defaults(&c.Defaults),
		"tables":   d.tables(&c.Tables),
		"limits":   d.limits(&c.Limits),
		"keyless":  parsed(d, &c.Keyless, oneOf(Stop, InsertOnly)),
		"listen":   d.text(&c.Listen),

		"on_new_table":     parsed(d, &c.OnNewTable, oneOf(Copy, Ask, Ignore)),
		"on_schema_change": d.schemaChange(&c.OnSchemaChange),
		"on_lake_change":   parsed(d, &c.OnLakeChange, oneOf(Stop, Resync)),
		"wal_guard":        d.walGuard(&c.WALGuard),
		"epochs":           d.epochs(&c.Epochs),
	}
	if err := d.document(text, root); err != nil {
		return nil, err
	}
	if !seenVersion {
		d.fault(nil, "version is missing: begin the file with `version: %d`", version)
		return nil, d.faults[0]
	}
	return c, nil
}

func (d *decoder) source(to *Source) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "source", keys{
			"url":              d.text(&to.URL),
			"password_file":    d.text(&to.PasswordFile),
			"password_command": d.argv(&to.PasswordCommand),
			"primary_url":      d.text(&to.PrimaryURL),
			"standby":          parsed(d, &to.Standby, yesNo),
			"failover":         parsed(d, &to.Failover, yesNo),
			"honour_filters":   parsed(d, &to.HonourFilters, yesNo),
			"watch_interval":   parsed(d, &to.WatchInterval, duration),
			"streaming":        parsed(d, &to.Streaming, oneOf(On, Off)),
			"origin":           parsed(d, &to.Origin, oneOf(Any, None)),
			"heartbeat":        parsed(d, &to.Heartbeat, durationOrOff),
		})
		if to.PasswordFile != "" && len(to.PasswordCommand) > 0 {
			d.fault(n, "source has both password_file and password_command: keep one")
		}
	}
}

func (d *decoder) lake(to *Lake) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "lake", keys{
			"url":       d.text(&to.URL),
			"freshness": parsed(d, &to.Freshness, duration),
		})
	}
}

func (d *decoder) defaults(to *Defaults) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "defaults", d.withKept(&to.Kept, keys{"mode": d.words(&to.Mode, oneOf(Mirror, Changelog))}))
	}
}

func (d *decoder) tables(to *[]Rule) func(*yaml.Node) {
	return d.list("tables", func(i int, n *yaml.Node) {
		var r Rule
		where := fmt.Sprintf("tables[%d]", i)
		before := len(d.faults)
		d.mapping(n, where, d.withKept(&r.Kept, keys{
			"match":   d.words(&r.Match, anyText),
			"exclude": d.words(&r.Exclude, anyText),
			"mode":    d.words(&r.Mode, oneOf(Mirror, Changelog)),
			"types":   d.named(&r.Types, where+".types", oneOf(Exact, Text, Clamp, Stop)),

			"mask":      d.masks(&r.Mask, where+".mask"),
			"salt_file": d.text(&r.SaltFile),
		}))
		if len(r.Match) == 0 && len(d.faults) == before {
			d.fault(n, "%s says not which tables it is about: add match, as in match: \"public.*\"", where)
		}
		*to = append(*to, r)
	})
}

// withKept adds the keys that say how a table's rows are kept.
func (d *decoder) withKept(to *Kept, k keys) keys {
	k["partition_by"] = d.transforms(&to.PartitionBy)
	k["metadata"] = d.wordsOrNone(&to.Metadata, oneOf(IngestionTimestamp, SourceSystem))
	k["source_system"] = d.text(&to.SourceSystem)
	k["delete"] = parsed(d, &to.Delete, oneOf(Hard, Soft, Ignore))
	k["deletes"] = parsed(d, &to.Deletes, oneOf(Vectors, Rewrite))
	k["change_feed"] = parsed(d, &to.ChangeFeed, oneOf(True, False))
	return k
}

func (d *decoder) schemaChange(to *SchemaChange) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "on_schema_change", keys{
			"add":       parsed(d, &to.Add, oneOf(Evolve, Stop, Resync)),
			"drop":      parsed(d, &to.Drop, oneOf(Keep, Drop, Stop, Resync)),
			"rename":    parsed(d, &to.Rename, oneOf(Rename, Stop, Resync)),
			"type":      parsed(d, &to.Type, oneOf(Stop, Resync, Cast)),
			"partition": parsed(d, &to.Partition, oneOf(Stop, Resync, Keep)),
			"rewrite":   parsed(d, &to.Rewrite, oneOf(Stop, Resync, Keep)),
		})
	}
}

func (d *decoder) walGuard(to *WALGuard) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "wal_guard", keys{
			"warn":       parsed(d, &to.Warn, sizeOrOff),
			"act":        parsed(d, &to.Act, sizeOrOff),
			"warn_after": parsed(d, &to.WarnAfter, duration),
			"act_after":  parsed(d, &to.ActAfter, duration),
			"do":         d.words(&to.Do, oneOf(DetachLargest, ReleaseSlot, None)),
		})
		if len(to.Do) > 1 && slices.Contains(to.Do, None) {
			d.fault(n, "wal_guard.do is none and something else: keep one")
		}
	}
}

func (d *decoder) epochs(to *Epochs) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "epochs", keys{"keep": parsed(d, &to.Keep, daysOrForever)})
	}
}

func (d *decoder) limits(to *Limits) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.mapping(n, "limits", keys{
			"memory":             parsed(d, &to.Memory, ParseSize),
			"spool":              parsed(d, &to.Spool, ParseSize),
			"spool_folder":       d.text(&to.SpoolFolder),
			"source_connections": parsed(d, &to.SourceConnections, count),
			"copy_rate":          parsed(d, &to.CopyRate, ParseSize),
			"copy_range":         parsed(d, &to.CopyRange, ParseSize),
		})
	}
}

func yesNo(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func anyText(s string) (string, error) { return s, nil }

func duration(s string) (time.Duration, error) {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("%q is not a length of time such as 500ms, 10s or 5m", s)
	}
	return v, nil
}

// daysOrForever is a length of time of an hour at least, also in whole days, or a
// negative one for "forever".
func daysOrForever(s string) (time.Duration, error) {
	if s == Forever {
		return -1, nil
	}
	v, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		v = time.Duration(n) * 24 * time.Hour
		if n > maxDays {
			err = strconv.ErrRange
		}
	}
	if err != nil || v < time.Hour {
		return 0, fmt.Errorf("%q is not a length of time such as 30d or 36h, at least 1h, or forever", s)
	}
	return v, nil
}

// maxDays is more than anybody means, and less than a length of time can be.
const maxDays = 100_000

// sizeOrOff is a size in bytes, or a negative one for "off".
func sizeOrOff(s string) (int64, error) {
	if s == Off {
		return -1, nil
	}
	v, err := ParseSize(s)
	if err != nil {
		return 0, fmt.Errorf("%w, or off", err)
	}
	return v, nil
}

// durationOrOff is a length of time, or a negative one for "off".
func durationOrOff(s string) (time.Duration, error) {
	if s == Off {
		return -1, nil
	}
	v, err := duration(s)
	if err != nil {
		return 0, fmt.Errorf("%w, or off", err)
	}
	return v, nil
}
