using System.Diagnostics;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace MutantHost;

/// <summary>
/// Makes an assembly quick that Stryker.NET has mutated, before it is loaded. It is compiled as for a debugger, whatever the configuration: then the just-in-time compiler optimizes
/// nothing of it. And what is asked at each place that was changed, which mutant is active, looks for files and variables that <see cref="ActiveMutant"/> stands for here:
/// that took most of the time of most tests.
/// </summary>
/// <remarks><b>Source.</b> ECMA-335, II.22.26 (methods), II.23.3 (custom attributes), II.24.2.4 (the blob heap), II.25.4.3 (fat method headers).</remarks>
internal static class Optimization
{
    // The length of the blob, and its prolog.
    private const int BeforeArgument = 1 + 2;

    private const int MethodRvaBytes = 4, HeaderBytes = 12, CodeSizeAt = 4;
    private const byte FormatMask = 7 | MoreSections, FatFormat = 3, MoreSections = 8;

    /// <summary>Makes the assemblies in a folder quick that have mutants. Another process may do the same at the same time.</summary>
    public static void Allow(string folder)
    {
        foreach (string file in Directory.GetFiles(folder, "*.dll").Where(static file => Controls.IsOurs(Path.GetFileNameWithoutExtension(file))))
        {
            List<(long At, byte[] Bytes)> edits = EditsOf(file);
            if (edits.Count == 0) continue;
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            foreach ((long at, byte[] bytes) in edits)
            {
                stream.Position = at;
                stream.Write(bytes);
            }
        }
    }

    private static List<(long At, byte[] Bytes)> EditsOf(string file)
    {
        using var pe = new PEReader(new MemoryStream(File.ReadAllBytes(file)));
        if (!pe.HasMetadata) return [];
        MetadataReader reader = pe.GetMetadataReader();
        TypeDefinition[] controls = [.. reader.TypeDefinitions.Select(reader.GetTypeDefinition).Where(type => Controls.IsOne(reader.GetString(type.Name), reader.GetString(type.Namespace)))];
        return controls is [TypeDefinition control] ? [.. OptimizedBy(pe, reader), .. AskedQuicklyBy(pe, reader, control)] : [];
    }

    /// <summary>The bit of the assembly that forbids to optimize it.</summary>
    private static IEnumerable<(long At, byte[] Bytes)> OptimizedBy(PEReader pe, MetadataReader reader)
    {
        foreach (CustomAttribute attribute in reader.GetAssemblyDefinition().GetCustomAttributes().Select(reader.GetCustomAttribute))
        {
            if (attribute.Constructor.Kind != HandleKind.MemberReference
                || reader.GetMemberReference((MemberReferenceHandle)attribute.Constructor).Parent is not { Kind: HandleKind.TypeReference } type
                || reader.GetString(reader.GetTypeReference((TypeReferenceHandle)type).Name) != nameof(DebuggableAttribute)) continue;
            int modes = BitConverter.ToInt32(reader.GetBlobBytes(attribute.Value), BeforeArgument - 1) & ~(int)DebuggableAttribute.DebuggingModes.DisableOptimizations;
            yield return (pe.PEHeaders.MetadataStartOffset + reader.GetHeapMetadataOffset(HeapIndex.Blob) + reader.GetHeapOffset(attribute.Value) + BeforeArgument, BitConverter.GetBytes(modes));
        }
    }

    /// <summary>
    /// <c>IsActive(id)</c>: to note what is covered, if that is what the process is for; else whether <c>ActiveMutant</c> is that one. Small enough to be put in its place.
    /// Nothing, if the class is not as it is known.
    /// </summary>
    private static IEnumerable<(long At, byte[] Bytes)> AskedQuicklyBy(PEReader pe, MetadataReader reader, TypeDefinition control)
    {
        // A method may have overloads.
        Dictionary<string, int> methods = control.GetMethods().GroupBy(handle => reader.GetString(reader.GetMethodDefinition(handle).Name))
            .ToDictionary(static named => named.Key, static named => MetadataTokens.GetToken(named.First()));
        Dictionary<string, int> fields = control.GetFields()
            .ToDictionary(handle => reader.GetString(reader.GetFieldDefinition(handle).Name), static handle => MetadataTokens.GetToken(handle));
        if (!methods.TryGetValue("IsActive", out int isActive) || !methods.TryGetValue("RegisterCoverage", out int register)
            || !fields.TryGetValue("CaptureCoverage", out int capture) || !fields.TryGetValue("ActiveMutant", out int active)) yield break;

        byte[] code =
        [
            0x7E, .. BitConverter.GetBytes(capture),      // ldsfld CaptureCoverage
            0x2C, 8,                                      // brfalse.s to ldarg.0 below
            0x02, 0x28, .. BitConverter.GetBytes(register), 0x16, 0x2A,     // ldarg.0, call RegisterCoverage, ldc.i4.0, ret
            0x02, 0x7E, .. BitConverter.GetBytes(active), 0xFE, 0x01, 0x2A, // ldarg.0, ldsfld ActiveMutant, ceq, ret
        ];
        var handle = (MethodDefinitionHandle)MetadataTokens.EntityHandle(isActive);
        MethodDefinition method = reader.GetMethodDefinition(handle);
        byte[] body = [.. pe.GetSectionData(method.RelativeVirtualAddress).GetContent(0, HeaderBytes)];
        if ((body[0] & FormatMask) != FatFormat || BitConverter.ToInt32(body, CodeSizeAt) < code.Length) yield break;

        SectionHeader section = pe.PEHeaders.SectionHeaders[pe.PEHeaders.GetContainingSectionIndex(method.RelativeVirtualAddress)];
        long at = method.RelativeVirtualAddress - section.VirtualAddress + section.PointerToRawData;
        yield return (at + CodeSizeAt, BitConverter.GetBytes(code.Length));
        yield return (at + HeaderBytes, code);
        int row = reader.GetTableMetadataOffset(TableIndex.MethodDef) + (MetadataTokens.GetRowNumber(handle) - 1) * reader.GetTableRowSize(TableIndex.MethodDef);
        yield return (pe.PEHeaders.MetadataStartOffset + row + MethodRvaBytes, BitConverter.GetBytes((ushort)(method.ImplAttributes | MethodImplAttributes.AggressiveInlining)));
    }
}
