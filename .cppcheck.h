/* For cppcheck alone, which does not read the system's headers: loops of jansson's. */
#define json_array_foreach(a, i, v) for (i = 0; i < json_array_size(a) && (v = json_array_get(a, i)); i++)
#define json_object_foreach(o, k, v) for (k = key_of(o); k && (v = json_object_get(o, k)); k = key_after(o, k))
