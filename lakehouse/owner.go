package lakehouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// isSource reports whether a table's property names its source, or one that
// the pipeline was fed from before it was adopted: there it may have had
// another OID.
func (s *tableSpec) isSource(property string) bool {
	if property == s.sourceProperty() {
		return true
	}
	return slices.ContainsFunc(s.formerly, func(id cdc.Identity) bool {
		return strings.HasPrefix(property, fmt.Sprintf("%s/%s/", id.SystemID, id.Database))
	})
}
