using System.Diagnostics;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace MutantHost;

/// <summary>
/// Stryker.NET compiles what it mutates as for a debugger, whatever the configuration: then the just-in-time compiler optimizes nothing of it, and what is asked at each place that
/// was changed, which mutant is active, takes most of the time. The bit that says so is taken out of the assembly before it is loaded.
/// </summary>
internal static class Optimization
{
    // Source: ECMA-335, II.23.3 (a prolog of two bytes comes before the argument) and II.24.2.4 (a length of one byte before both).
    private const int BeforeArgument = 3;

    /// <summary>Has the assemblies in a folder optimized that have mutants.</summary>
    public static void Allow(string folder)
    {
        foreach (string file in Directory.GetFiles(folder, "*.dll").Where(static file => Controls.IsOurs(Path.GetFileNameWithoutExtension(file)))) AllowOf(file);
    }

    private static void AllowOf(string file)
    {
        if (PlaceOfModes(file) is not { } place) return;
        // Another process may do the same at the same time.
        using var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        Span<byte> modes = stackalloc byte[sizeof(int)];
        stream.Position = place;
        stream.ReadExactly(modes);
        int allowed = BitConverter.ToInt32(modes) & ~(int)DebuggableAttribute.DebuggingModes.DisableOptimizations;
        BitConverter.TryWriteBytes(modes, allowed);
        stream.Position = place;
        stream.Write(modes);
    }

    private static long? PlaceOfModes(string file)
    {
        using var pe = new PEReader(File.OpenRead(file));
        if (!pe.HasMetadata) return null;
        MetadataReader reader = pe.GetMetadataReader();
        bool hasMutants = reader.TypeDefinitions.Select(reader.GetTypeDefinition)
            .Any(type => Controls.IsOne(reader.GetString(type.Name), reader.GetString(type.Namespace)));
        if (!hasMutants) return null;
        foreach (CustomAttribute attribute in reader.GetAssemblyDefinition().GetCustomAttributes().Select(reader.GetCustomAttribute))
        {
            if (attribute.Constructor.Kind == HandleKind.MemberReference
                && reader.GetMemberReference((MemberReferenceHandle)attribute.Constructor).Parent is { Kind: HandleKind.TypeReference } type
                && reader.GetString(reader.GetTypeReference((TypeReferenceHandle)type).Name) == nameof(DebuggableAttribute))
                return pe.PEHeaders.MetadataStartOffset + reader.GetHeapMetadataOffset(HeapIndex.Blob) + reader.GetHeapOffset(attribute.Value) + BeforeArgument;
        }

        return null;
    }
}
