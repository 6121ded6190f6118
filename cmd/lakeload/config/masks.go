package config

import (
	"go.yaml.in/yaml/v3"

	"github.com/lakeload/lakeload/lakehouse/mask"
)

// masks reads a mapping from names of columns to masks: a word, or for a regex
// its pattern and what is put in place of what it matches.
func (d *decoder) masks(to *map[string]mask.Mask, where string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		known := keys{}
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				name, value := n.Content[i].Value, n.Content[i+1]
				if value.Tag == "!!null" && value.Value == "null" {
					value.Tag = "!!str" // it is the mask's name
				}
				known[name] = func(n *yaml.Node) {
					var m mask.Mask
					d.mask(&m, where+"."+name)(n)
					if *to == nil {
						*to = map[string]mask.Mask{}
					}
					(*to)[name] = m
				}
			}
			if len(known) == 0 {
				d.fault(n, "%s is empty", where)
			}
		}
		d.mapping(n, where, known)
	}
}

func (d *decoder) mask(to *mask.Mask, where string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			parsed(d, to, mask.Parse)(n)
			return
		}
		before := len(d.faults)
		to.Kind = mask.Regex
		// What is put in place may be nothing, and $1 is a group.
		d.mapping(n, where, keys{
			"regex": d.literal(&to.Pattern), "replace": d.literal(&to.Replacement),
		})
		if err := to.Validate(); err != nil && len(d.faults) == before {
			d.fault(n, "%v", err)
		}
	}
}

// literal reads a text as it stands.
func (d *decoder) literal(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.fault(n, "one value is wanted, not a list or a mapping")
			return
		}
		*to = n.Value
	}
}
