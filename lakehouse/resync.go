package lakehouse

import (
	"context"
	"errors"
	"time"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Resync asks for a table to be copied again when the pipeline's engine is
// started next: its content stays readable as it is until the new copy is
// published in one commit. The engine must not be running. table is the
// source's qualified name, as [TableState.Name] has it.
func Resync(ctx context.Context, lake objstore.Store, pipeline, table string) error {
	st, err := ReadState(ctx, lake, pipeline)
	if err != nil {
		return err
	}
	if st.Phase != PipelineReady {
		return &Error{
			Op: "asking for a resync", Object: table, Err: errors.New("the pipeline has not made its first copy yet"),
			Remedy: "start the engine: it copies every table",
		}
	}
	for i := range st.Tables {
		t := &st.Tables[i]
		if t.Name() != table {
			continue
		}
		t.askCopy()
		t.Since = time.Now().UTC()
		return saveState(ctx, lake, st)
	}
	return &Error{
		Op: "asking for a resync", Object: table, Err: errors.New("the pipeline feeds no such table"),
		Remedy: "`lakeload tables` lists them, as schema.table",
	}
}
