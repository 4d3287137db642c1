using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Conformance")]
