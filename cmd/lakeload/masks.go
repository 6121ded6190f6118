package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cmd/lakeload/config"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// setMasks takes over what a rule says of masks.
func setMasks(o *lakehouse.TableOptions, r *config.Rule) (err error) {
	for _, name := range slices.Sorted(maps.Keys(r.Mask)) {
		o.Masks = append(o.Masks, mask.Column{Name: name, Mask: r.Mask[name]})
	}
	if r.SaltFile != "" {
		o.Salt, err = readSalt(r.SaltFile)
	}
	return err
}

func readSalt(file string) (*mask.Salt, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, failedf("make the file (`openssl rand -hex 32`), and let this user read it, and nobody else", "reading the salt of the masks: %w", err)
	}
	salt, err := mask.NewSalt(text)
	if err != nil {
		return nil, failedf("a salt cannot be changed later without copying the tables again: keep it well", "reading the salt of the masks from %s: %w", file, err)
	}
	return salt, nil
}

// overrideMasks adds what a later rule says of masks: of a column the last word
// counts, and of salts the last one.
func overrideMasks(o, by *lakehouse.TableOptions) {
	if by.Salt != nil {
		o.Salt = by.Salt
	}
	if len(by.Masks) == 0 {
		return
	}
	next := slices.DeleteFunc(slices.Clone(o.Masks), func(m mask.Column) bool {
		return slices.ContainsFunc(by.Masks, func(b mask.Column) bool { return b.Name == m.Name })
	})
	o.Masks = append(next, by.Masks...)
}

// maskFindings says which masks cannot be applied to the tables, as the source
// has them, and which have no column.
func maskFindings(conf *config.Config, tables []*cdc.Relation) ([]cdc.Finding, error) {
	options, err := tableOptions(conf, nil)
	if err != nil {
		return nil, err
	}
	var found []cdc.Finding
	masked := 0
	for _, rel := range tables {
		o := options(rel)
		if p := mask.Check(rel, o.Masks, o.Salt != nil); p != nil {
			found = append(found, cdc.Finding{
				Check: "column_mask", Object: rel.String() + "." + p.Column, Severity: cdc.Blocker, Table: rel.String(),
				Have: p.Reason, Need: "a mask that the column can have", Remedy: p.Remedy,
			})
		}
		for _, m := range o.Masks {
			if slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == m.Name }) {
				masked++
			}
		}
	}
	for i := range conf.Tables {
		r := &conf.Tables[i]
		rule, err := asTableRule(conf, r)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(r.Mask)) {
			if !slices.ContainsFunc(tables, func(rel *cdc.Relation) bool {
				return rule.matches(rel) && slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == name })
			}) {
				found = append(found, cdc.Finding{
					Check: "column_mask", Object: name, Severity: cdc.Warning,
					Have: "no such column in the tables of " + strings.Join(r.Match, ", "), Need: "the name of a column, with upper and lower case as PostgreSQL has it",
					Remedy: "mend the column's name under mask, or the patterns of its tables, in the configuration; a column that is added later by this name is masked",
				})
			}
		}
		found = append(found, saltFinding(r.SaltFile)...)
	}
	if len(found) == 0 && masked > 0 {
		found = append(found, cdc.Finding{Check: "column_mask", Severity: cdc.OK, Have: fmt.Sprintf("%d columns are masked", masked)})
	}
	return found, nil
}

// saltFinding warns of a salt that others can read.
func saltFinding(file string) []cdc.Finding {
	if file == "" {
		return nil
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return nil // what cannot be read was told already
	}
	return []cdc.Finding{{
		Check: "mask_salt", Object: file, Severity: cdc.Warning, Have: fmt.Sprintf("readable by everybody (%#o)", info.Mode().Perm()),
		Need: "readable by this user alone: who has the salt can find out what was hashed", Remedy: "chmod 600 " + file,
	}}
}
