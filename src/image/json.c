// SPDX-License-Identifier: MIT
/*
 * A snapshot as JSON, by the descriptors of its messages: fields under their names in the schema,
 * 64 bits as numbers, bytes in hexadecimal, enumerations by name, messages that are not there as
 * null. Bytes of a string that are not UTF-8 become \udcXX, which Python's os.fsencode() takes
 * back.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "image/image.h"

struct printer {
	FILE *out;
	int depth;
};

/* Length of the UTF-8 sequence that text starts with, 0: none. */
static int utf8_length(const unsigned char *text)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	int length = text[0] < 0x80			 ? 1
		     : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
		     : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
		     : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
							 : 0;
	unsigned value;

	if (length < 2)
		return length;
	value = text[0] & (0x7f >> length);
	for (int i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (text[i] & 0x3f);
	}
	return value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)
		       ? 0
		       : length;
}

static void print_text(struct printer *printer, const char *text)
{
	const unsigned char *next = (const unsigned char *)text;

	fputc('"', printer->out);
	while (*next) {
		int length = utf8_length(next);

		if (length == 0)
			fprintf(printer->out, "\\udc%02x", *next);
		else if (*next == '"' || *next == '\\')
			fprintf(printer->out, "\\%c", *next);
		else if (*next < 0x20 || *next == 0x7f)
			fprintf(printer->out, "\\u%04x", *next);
		else
			fwrite(next, 1, (size_t)length, printer->out);
		next += length ? length : 1;
	}
	fputc('"', printer->out);
}

static void print_bytes(struct printer *printer, const ProtobufCBinaryData *bytes)
{
	static const char digits[] = "0123456789abcdef";

	fputc('"', printer->out);
	for (size_t i = 0; i < bytes->len; i++) {
		fputc(digits[bytes->data[i] >> 4], printer->out);
		fputc(digits[bytes->data[i] & 15], printer->out);
	}
	fputc('"', printer->out);
}

static void print_message(struct printer *printer, const ProtobufCMessage *message);

static void print_enum(struct printer *printer, const ProtobufCEnumDescriptor *type, int value)
{
	const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

	if (known)
		fprintf(printer->out, "\"%s\"", known->name);
	else
		fprintf(printer->out, "%d", value);
}

/* Prints one value and returns the size it has in an array. */
static size_t print_value(
	struct printer *printer, const ProtobufCFieldDescriptor *field, const void *value)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		fprintf(printer->out, "%" PRId32, *(const int32_t *)value);
		return sizeof(int32_t);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		fprintf(printer->out, "%" PRIu32, *(const uint32_t *)value);
		return sizeof(uint32_t);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		fprintf(printer->out, "%" PRId64, *(const int64_t *)value);
		return sizeof(int64_t);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		fprintf(printer->out, "%" PRIu64, *(const uint64_t *)value);
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)value ? "true" : "false", printer->out);
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_ENUM:
		print_enum(printer, field->descriptor, *(const int *)value);
		return sizeof(int);
	case PROTOBUF_C_TYPE_STRING:
		print_text(printer, *(char *const *)value);
		return sizeof(char *);
	case PROTOBUF_C_TYPE_BYTES:
		print_bytes(printer, value);
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_MESSAGE:
		print_message(printer, *(ProtobufCMessage *const *)value);
		return sizeof(ProtobufCMessage *);
	default: /* the schema has no floating numbers */
		fputs("null", printer->out);
		return 8;
	}
}

static void print_line(struct printer *printer)
{
	fprintf(printer->out, "\n%*s", printer->depth, "");
}

static void print_array(struct printer *printer, const ProtobufCFieldDescriptor *field,
	const char *values, size_t count)
{
	bool in_lines = field->type == PROTOBUF_C_TYPE_MESSAGE && count > 0;

	fputc('[', printer->out);
	printer->depth++;
	for (size_t i = 0; i < count; i++) {
		if (i)
			fputc(',', printer->out);
		if (in_lines)
			print_line(printer);
		else if (i)
			fputc(' ', printer->out);
		values += print_value(printer, field, values);
	}
	printer->depth--;
	if (in_lines)
		print_line(printer);
	fputc(']', printer->out);
}

static void print_message(struct printer *printer, const ProtobufCMessage *message)
{
	const char *base = (const char *)message;

	if (!message) {
		fputs("null", printer->out);
		return;
	}
	fputc('{', printer->out);
	printer->depth++;
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		if (i)
			fputc(',', printer->out);
		print_line(printer);
		fprintf(printer->out, "\"%s\": ", field->name);
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			print_array(printer, field, *(const char *const *)(base + field->offset),
				*(const size_t *)(base + field->quantifier_offset));
		else
			print_value(printer, field, base + field->offset);
	}
	printer->depth--;
	print_line(printer);
	fputc('}', printer->out);
}

int snapshot_json(const Snapshot *snapshot, FILE *out)
{
	struct printer printer = {.out = out};

	print_message(&printer, &snapshot->base);
	fputc('\n', out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
