package main

import (
	"context"
	"log/slog"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
)

const defaultPipeline = "default"

// sourceFlags say which database is read, and what of it.
type sourceFlags struct {
	c           *console
	name        string
	source      string
	tables      []string
	exclude     []string
	all         bool
	slot        string
	publication string
	keyless     string
	config      string
	primary     string
	standby     bool
	failover    bool
}

func (f *sourceFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.source, "source", "", "the database: postgres://user@host/db, without a password; else "+sourceEnv)
	flags.StringSliceVar(&f.tables, "tables", nil, "the tables: patterns such as 'public.*,sales.orders'")
	flags.StringSliceVar(&f.exclude, "exclude", nil, "patterns of tables to leave out, whatever selects them")
	flags.BoolVar(&f.all, "all", false, "every table; those without a key are then followed by their inserts alone")
	flags.StringVar(&f.name, "name", "", "the pipeline's name (default \""+defaultPipeline+"\")")
	flags.StringVar(&f.slot, "slot", "", "the replication slot (default lakeload_NAME)")
	flags.StringVar(&f.publication, "publication", "", "the publication (default lakeload_NAME)")
	flags.StringVar(&f.keyless, "keyless", "", "what to do with tables without a key: stop or insert-only (default stop; insert-only with --all)")
	flags.StringVarP(&f.config, "config", "c", "", "take what no flag says from this lakeload.yaml")
	f.registerServer(flags)
}

// registerServer has the flags about which of several servers is read.
func (f *sourceFlags) registerServer(flags *pflag.FlagSet) {
	flags.BoolVar(&f.failover, "failover", false, "make the slot one that standbys keep (PostgreSQL 17)")
	flags.BoolVar(&f.standby, "standby", false, "read a standby (PostgreSQL 16), which else is waited for until it is promoted")
	flags.StringVar(&f.primary, "primary", "", "the standby's primary, where publications are made: postgres://user@host/db, without a password")
}

// registerSlot has the flags that name a source and the pipeline's slot and
// publication there, for commands that select no tables.
func (f *sourceFlags) registerSlot(flags *pflag.FlagSet) {
	f.all = true
	flags.StringVar(&f.source, "source", "", "the database: postgres://user@host/db, without a password; else "+sourceEnv)
	flags.StringVar(&f.name, "name", "", "the pipeline's name (default \""+defaultPipeline+"\")")
	flags.StringVar(&f.slot, "slot", "", "the replication slot (default lakeload_NAME)")
	flags.StringVar(&f.publication, "publication", "", "the publication (default lakeload_NAME)")
	flags.StringVarP(&f.config, "config", "c", "", "take what no flag says from this lakeload.yaml")
	f.registerServer(flags)
}

// selection is what the flags and the configuration come to.
type selection struct {
	name     string
	postgres postgres.Config
	conf     *config.Config
}

// resolve reads the configuration, if one is named, and merges it with the flags.
func (f *sourceFlags) resolve() (*selection, error) {
	if f.config == "" {
		return f.merge(&config.Config{})
	}
	conf, err := loadConfig(f.c, f.config)
	if err != nil {
		return nil, err
	}
	return f.merge(conf)
}

// merge puts flags and environment over the configuration.
func (f *sourceFlags) merge(conf *config.Config) (*selection, error) {
	dsn, err := f.c.sourceDSN(f.source, conf.Source.URL)
	if err != nil {
		return nil, err
	}
	if dsn == "" {
		return nil, usageErrorf("name it with --source postgres://user@host/db, in "+sourceEnv+", or in a configuration file with -c",
			"which database is meant is not said")
	}
	s := &selection{conf: conf, name: first(f.name, conf.Name, defaultPipeline)}
	p := &s.postgres
	p.DSN, p.All, p.Connections = dsn, f.all, conf.Limits.SourceConnections
	if err := f.server(p, &conf.Source); err != nil {
		return nil, err
	}
	p.CopyRate, p.RangeBytes = conf.Limits.CopyRate, conf.Limits.CopyRange
	p.SpoolDir, p.SpoolBytes, p.Heartbeat = conf.Limits.SpoolFolder, conf.Limits.Spool, conf.Source.Heartbeat
	if conf.Source.Streaming == config.Off {
		p.Streaming = postgres.StreamingOff
	}
	if conf.Source.Origin == config.None {
		p.Origin = postgres.OriginNone
	}
	if p.Slot, err = f.objectName("slot", f.slot, s.name); err != nil {
		return nil, err
	}
	if p.Publication, err = f.objectName("publication", f.publication, s.name); err != nil {
		return nil, err
	}
	if err := f.selectTables(s); err != nil {
		return nil, err
	}
	if p.Types, err = typeRules(conf); err != nil {
		return nil, err
	}
	return s, f.setKeyless(s)
}

// server fills in how the server is reached, and which of several is meant.
func (f *sourceFlags) server(p *postgres.Config, conf *config.Source) error {
	p.PasswordFile, p.PasswordCommand, p.HonourFilters = conf.PasswordFile, conf.PasswordCommand, conf.HonourFilters
	p.PrimaryDSN, p.Failover = first(f.primary, conf.PrimaryURL), f.failover || conf.Failover
	p.AllowStandby = f.standby || conf.Standby
	if f.primary != "" && hasPassword(f.primary) {
		return usageErrorf(passwordRemedy, "the password in --primary is refused")
	}
	if p.PrimaryDSN != "" && !p.AllowStandby {
		return usageErrorf("add --standby, or source.standby in the configuration", "a primary is named, and that a standby is to be read is not said")
	}
	return nil
}

func (f *sourceFlags) selectTables(s *selection) error {
	p := &s.postgres
	p.Tables, p.Exclude = f.tables, f.exclude
	if len(f.tables) == 0 && !f.all {
		for _, r := range s.conf.Tables {
			p.Tables = append(p.Tables, r.Match...)
		}
	}
	for _, r := range s.conf.Tables {
		p.Exclude = append(p.Exclude, r.Exclude...)
	}
	if f.all && len(f.tables) > 0 {
		return usageErrorf("give one of the two, and --exclude for what is to be left out", "--all and --tables contradict each other")
	}
	if len(p.Tables) == 0 && !p.All {
		return usageErrorf("choose them with --tables 'public.*', with --all, or in the configuration file", "which tables are meant is not said")
	}
	for _, text := range append(append([]string(nil), p.Tables...), p.Exclude...) {
		if _, err := postgres.ParsePattern(text); err != nil {
			return usageErrorf("put a pattern in quotes, so that the shell leaves it alone", "%w", err)
		}
	}
	return nil
}

// typeRules are what the configuration says of columns' types.
func typeRules(conf *config.Config) ([]postgres.TypeRule, error) {
	var rules []postgres.TypeRule
	for _, r := range conf.Tables {
		if len(r.Types) == 0 {
			continue
		}
		rule := postgres.TypeRule{Tables: r.Match, Columns: map[string]postgres.TypePolicy{}}
		for _, text := range r.Match {
			if _, err := postgres.ParsePattern(text); err != nil {
				return nil, usageErrorf("mend the pattern in "+conf.Path, "%w", err)
			}
		}
		for column, word := range r.Types {
			policy, err := postgres.ParseTypePolicy(word)
			if err != nil {
				return nil, usageErrorf("mend it in "+conf.Path, "column %s: %w", column, err)
			}
			rule.Columns[column] = policy
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func (f *sourceFlags) setKeyless(s *selection) error {
	word := first(f.keyless, s.conf.Keyless)
	if word == "" && s.postgres.All {
		word = config.InsertOnly
	}
	switch word {
	case "", config.Stop:
		s.postgres.Keyless = postgres.KeylessStop
	case config.InsertOnly:
		s.postgres.Keyless = postgres.KeylessInsertOnly
	default:
		return usageErrorf("use stop or insert-only", "--keyless %q is not known", word)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9_]`)

// namesMax leaves room for the suffix of the second publication.
const namesMax = 55

// objectName is the default name of a slot or publication: PostgreSQL allows
// fewer letters in it than we do in a pipeline's.
func (f *sourceFlags) objectName(what, given, pipeline string) (string, error) {
	if given != "" {
		return given, nil
	}
	name := "lakeload_" + notInNames.ReplaceAllString(strings.ToLower(pipeline), "_")
	if len(name) > namesMax {
		return "", usageErrorf("name it with --"+what+", or give the pipeline a shorter name", "the default name of the %s, %s, is too long for PostgreSQL", what, name)
	}
	return name, nil
}

// open reaches the database.
func (s *selection) open(ctx context.Context, log *slog.Logger) (*postgres.Source, error) {
	s.postgres.Logger = log
	return postgres.Open(ctx, s.postgres)
}

// insertOnly lists the tables of which only inserts can be followed.
func insertOnly(rels []*cdc.Relation) []string {
	var names []string
	for _, r := range rels {
		if r.InsertOnly {
			names = append(names, r.String())
		}
	}
	return names
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
