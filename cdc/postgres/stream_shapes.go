package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// shapeWatch looks, before values of composite types are handed over, whether
// these still have the attributes by which the values were decoded.
//
// Altering a composite sends no message, and a value tells no more than how
// many fields it has (in binary also their types). Other numbers of fields are
// noticed value by value; as many, but other ones, only here. What has been
// decoded since the catalogue was last read is then in doubt, and the table
// has to be copied again. Only chunks with such values cost a query.
type shapeWatch struct {
	shapes func(ctx context.Context, oids []uint32) (map[uint32]string, error)
}

// look marks the batches of a chunk that are in doubt.
func (w *shapeWatch) look(ctx context.Context, c *cdc.Chunk) error {
	var oids []uint32
	for _, it := range c.Items {
		if it.Batch == nil {
			continue
		}
		for _, col := range it.Relation.Columns {
			if col.Shape != "" {
				oids = append(oids, col.TypeOID)
			}
		}
	}
	if len(oids) == 0 {
		return nil
	}
	now, err := w.shapes(ctx, oids)
	if err != nil {
		return fmt.Errorf("looking whether composite types have changed: %w", err)
	}
	for _, it := range c.Items {
		if it.Batch == nil {
			continue
		}
		for _, col := range it.Relation.Columns {
			if mistakable(col.Shape, now[col.TypeOID]) {
				it.Batch.Faults = append([]cdc.Fault{shapeFault(&col)}, it.Batch.Faults...)
				break
			}
		}
	}
	return nil
}

func shapeFault(c *cdc.Column) cdc.Fault {
	return cdc.Fault{
		Reason: fmt.Sprintf("the composite type of column %q (%s) was altered while its values were being read, so that fields of the old and the new type can be mistaken for one another", c.Name, c.SourceType),
		Remedy: "copy the table again: `lakeload resync SCHEMA.TABLE`",
		Resync: true,
	}
}

// shapes reads the present shapes of types.
func (r *resolver) shapes(ctx context.Context, oids []uint32) (map[uint32]string, error) {
	shapes := map[uint32]string{}
	err := r.admin.with(ctx, func(conn *pgconn.PgConn) error {
		types, err := r.types.resolve(ctx, conn, oids)
		for oid, t := range types {
			shapes[oid] = shapeOf(t)
		}
		return err
	})
	return shapes, err
}
