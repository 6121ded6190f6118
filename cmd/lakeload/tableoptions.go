package main

import (
	"slices"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/lakehouse"
)

// tableRule is a rule of the configuration, ready to be asked.
type tableRule struct {
	match, exclude []postgres.Pattern
	options        lakehouse.TableOptions
}

func (r *tableRule) matches(rel *cdc.Relation) bool {
	any := func(list []postgres.Pattern) bool {
		return slices.ContainsFunc(list, func(p postgres.Pattern) bool { return p.Matches(rel.Schema, rel.Name) })
	}
	return any(r.match) && !any(r.exclude)
}

// tableOptions gives the function that says how a table is kept: what the
// defaults say, overridden, key by key, by the rules that match, the last one
// last. --mode stands over all of them. What nobody says is left open: a table
// that is in the lake stays as it is.
func (f *runFlags) tableOptions(conf *config.Config) (func(*cdc.Relation) lakehouse.TableOptions, error) {
	return tableOptions(conf, f.mode)
}

func tableOptions(conf *config.Config, mode []string) (func(*cdc.Relation) lakehouse.TableOptions, error) {
	defaults, err := asTableOptions(conf, &config.Rule{Mode: conf.Defaults.Mode, Kept: conf.Defaults.Kept})
	if err != nil {
		return nil, err
	}
	var rules []tableRule
	for i := range conf.Tables {
		r, err := asTableRule(conf, &conf.Tables[i])
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	if len(mode) > 0 {
		all := tableRule{match: []postgres.Pattern{anyTable()}}
		if all.options.Modes, err = asModes(mode); err != nil {
			return nil, err
		}
		rules = append(rules, all)
	}
	return func(rel *cdc.Relation) lakehouse.TableOptions {
		o := defaults
		for i := range rules {
			if rules[i].matches(rel) {
				override(&o, &rules[i].options)
			}
		}
		return o
	}, nil
}

// override sets what a later rule says.
func override(o, by *lakehouse.TableOptions) {
	if len(by.Modes) > 0 {
		o.Modes = by.Modes
	}
	if by.PartitionBy != nil {
		o.PartitionBy = by.PartitionBy
	}
	if by.Metadata != nil {
		o.Metadata = by.Metadata
	}
	if by.SourceSystem != "" {
		o.SourceSystem = by.SourceSystem
	}
	if by.Delete != "" {
		o.Delete = by.Delete
	}
	if by.Deletes != "" {
		o.Deletes = by.Deletes
	}
	if by.ChangeFeed != "" {
		o.ChangeFeed = by.ChangeFeed
	}
	overrideMasks(o, by)
}

func asTableRule(conf *config.Config, r *config.Rule) (rule tableRule, err error) {
	if rule.match, err = asPatterns(conf, r.Match); err != nil {
		return rule, err
	}
	if rule.exclude, err = asPatterns(conf, r.Exclude); err != nil {
		return rule, err
	}
	rule.options, err = asTableOptions(conf, r)
	return rule, err
}

func asPatterns(conf *config.Config, texts []string) ([]postgres.Pattern, error) {
	var list []postgres.Pattern
	for _, text := range texts {
		p, err := postgres.ParsePattern(text)
		if err != nil {
			return nil, usageErrorf("mend the pattern in "+conf.Path, "%w", err)
		}
		list = append(list, p)
	}
	return list, nil
}

// anyTable matches every table.
func anyTable() postgres.Pattern {
	p, err := postgres.ParsePattern("*.*")
	if err != nil {
		panic(err) // it is a pattern
	}
	return p
}

// asTableOptions are what one rule says.
func asTableOptions(_ *config.Config, r *config.Rule) (o lakehouse.TableOptions, err error) {
	o.PartitionBy, o.SourceSystem = r.Kept.PartitionBy, r.Kept.SourceSystem
	o.Delete, o.Deletes = lakehouse.DeleteMode(r.Kept.Delete), lakehouse.DeletesMode(r.Kept.Deletes)
	o.ChangeFeed = map[string]lakehouse.FeedMode{config.True: lakehouse.FeedOn, config.False: lakehouse.FeedOff}[r.Kept.ChangeFeed]
	if r.Kept.Metadata != nil {
		o.Metadata = []lakehouse.MetadataColumn{}
	}
	for _, word := range r.Kept.Metadata {
		o.Metadata = append(o.Metadata, lakehouse.MetadataColumn(word))
	}
	if o.Modes, err = asModes(r.Mode); err != nil {
		return o, err
	}
	return o, setMasks(&o, r)
}

func asModes(words []string) ([]lakehouse.Mode, error) {
	var modes []lakehouse.Mode
	for _, w := range words {
		switch m := lakehouse.Mode(w); {
		case w == "both":
			modes = append(modes, lakehouse.ModeMirror, lakehouse.ModeChangelog)
		case m == lakehouse.ModeMirror || m == lakehouse.ModeChangelog:
			modes = append(modes, m)
		default:
			return nil, usageErrorf("use mirror, changelog or both", "the mode %q is not known", w)
		}
	}
	slices.Sort(modes)
	return slices.Compact(modes), nil
}
