/* A file as a reader and a writer. */
#include "io/fs/call.h"

static ssize_t read_file(void *context, void *buf, size_t bytes, filch_time until)
{
    return filch_file_read(context, buf, bytes, until);
}

static ssize_t write_file(void *context, const void *buf, size_t bytes, filch_time until)
{
    return filch_file_write(context, buf, bytes, until);
}

filch_reader filch_file_reader(filch_file *file)
{
    return (filch_reader){.read = read_file, .context = file};
}

filch_writer filch_file_writer(filch_file *file)
{
    return (filch_writer){.write = write_file, .context = file};
}

bool filch__reader_is_file(filch_reader reader)
{
    return reader.read == read_file;
}

bool filch__writer_is_file(filch_writer writer)
{
    return writer.write == write_file;
}
