package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// row is a row of a result, valid until the next one. Octets in it belong to
// whoever scans them: drivers make a copy for each row.
type row []driver.Value

// Scan copies the columns to what dest points to. It knows the types of our
// columns (numbers, text, octets) and fields of such kinds.
func (r row) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return fmt.Errorf("%d columns for %d variables", len(r), len(dest))
	}
	for i, d := range dest {
		if err := scanColumn(d, r[i]); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func scanColumn(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case *any:
		*d = v
		return nil
	case sql.Scanner:
		return d.Scan(v)
	case *[]byte:
		b, ok := v.([]byte)
		if !ok && v != nil {
			return fmt.Errorf("octets stored as %T", v)
		}
		*d = b
		return nil
	}
	switch v := v.(type) {
	case int64:
		return scanNumber(dest, v)
	case string:
		if d, ok := dest.(*string); ok {
			*d = v
			return nil
		}
		if field := reflect.ValueOf(dest).Elem(); field.Kind() == reflect.String {
			field.SetString(v)
			return nil
		}
	}
	return fmt.Errorf("%T stored for %T", v, dest)
}

func scanNumber(dest any, v int64) error {
	switch d := dest.(type) {
	case *int64:
		*d = v
		return nil
	case *uint64:
		if v >= 0 {
			*d = uint64(v)
			return nil
		}
	default:
		field := reflect.ValueOf(dest).Elem()
		switch {
		case field.CanInt() && !field.OverflowInt(v):
			field.SetInt(v)
			return nil
		case field.CanUint() && v >= 0 && !field.OverflowUint(uint64(v)):
			field.SetUint(uint64(v))
			return nil
		}
	}
	return fmt.Errorf("number %d stored for %T", v, dest)
}
