package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
)

// atFlags say which moment of a table, or of all of them, is meant.
type atFlags struct {
	version   int64
	timestamp string
	asOf      string
	lsn       string
	epoch     int64
}

func (f *atFlags) register(flags *pflag.FlagSet) {
	flags.Int64Var(&f.version, "version", 0, "the table's version")
	flags.StringVar(&f.timestamp, "timestamp", "", "the version that was the newest at this time of the lake")
	f.registerSource(flags)
}

// registerSource has the moments of the source alone, which all tables show.
func (f *atFlags) registerSource(flags *pflag.FlagSet) {
	flags.StringVar(&f.asOf, "as-of", "", "the source's state at this commit time")
	flags.StringVar(&f.lsn, "lsn", "", "the source's state at this position, as 0/1A2B3C8")
	flags.Int64Var(&f.epoch, "epoch", 0, "the source's state at this epoch")
}

// at reads the flags about the moment, of which one may be given.
func (f *atFlags) at(cmd *cobra.Command) (lakehouse.At, error) {
	var at lakehouse.At
	given := ""
	for _, moment := range []struct {
		flag string
		read func() (lakehouse.At, error)
	}{
		{"version", func() (lakehouse.At, error) { return lakehouse.AtVersion(f.version), nil }},
		{"timestamp", func() (lakehouse.At, error) { t, err := parseTime(f.timestamp); return lakehouse.AtTimestamp(t), err }},
		{"as-of", func() (lakehouse.At, error) { t, err := parseTime(f.asOf); return lakehouse.AsOf(t), err }},
		{"lsn", func() (lakehouse.At, error) { l, err := cdc.ParseLSN(f.lsn); return lakehouse.AtLSN(l), err }},
		{"epoch", func() (lakehouse.At, error) { return lakehouse.AtEpoch(f.epoch), nil }},
	} {
		if !cmd.Flags().Changed(moment.flag) {
			continue
		}
		if given != "" {
			return at, usageErrorf("give one of them", "--%s and --%s contradict each other", given, moment.flag)
		}
		given = moment.flag
		var err error
		if at, err = moment.read(); err != nil {
			return at, usageErrorf("`"+cmd.CommandPath()+" --help` shows how it is written", "--%s: %w", moment.flag, err)
		}
	}
	return at, nil
}

// timeLayouts are what a moment may be written in; without a zone it is UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"}

func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2026-11-23T18:04:32Z", s)
}
