using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Properties.House;

/// <summary>
/// The simulator's machinery is for any interface, and so are its devices: what they are made of knows none. VT-d and the processors'
/// cores are tenants of the machinery, and neither knows the other. Read from the compiled assembly.
/// </summary>
[Trait("Category", "House")]
public sealed class MachineryRules
{
    private const string Room = "IommuSim", Machinery = "IommuSim.Machinery", Devices = "IommuSim.Devices", Cores = "IommuSim.Cpu";

    /// <summary>What the machinery gives to users stands in the namespace of the room.</summary>
    private static readonly string[] Shown =
    [
        "CacheReplacement", "DeviceAccess", "ISteps", "InterruptMessage", "NoSteps", "NonCoherentMemory`1", "NonCoherentPort`1", "SimStep",
    ];

    /// <summary>So does what there is of devices.</summary>
    private static readonly string[] ShownDevices =
    [
        "AccessOutcome", "AtsDevice`2", "AtsDeviceOptions", "AtsUnit`1", "BusMaster`2", "DeviceTlbEntry", "DirectDevice`2", "DmaElement", "DmaQueue`2",
        "DmaRequest", "DmaResult", "DmaTransfer", "FaultCode", "MisbehavingDevice`2", "PasidPrefix", "RemappingUnit`1", "ScatterGatherEngine`2",
        "ScatterGatherResult", "WildAccesses",
    ];

    [Fact]
    public void The_machinery_knows_none_of_its_tenants() => Assert.Empty(Foreign(IsOfMachinery, IsOfMachinery));

    [Fact]
    public void The_cores_know_the_machinery_and_themselves() => Assert.Empty(Foreign(IsOfCores, type => IsOfMachinery(type) || IsOfCores(type)));

    [Fact]
    public void The_devices_know_the_machinery_and_themselves() => Assert.Empty(Foreign(IsOfDevices, type => IsOfMachinery(type) || IsOfDevices(type)));

    [Fact]
    public void What_stands_in_a_folder_is_what_the_rules_look_at()
    {
        (string Folder, Func<TypeReference, bool> IsOf)[] rooms = [("Machinery", IsOfMachinery), ("Devices", IsOfDevices), ("Cpu", IsOfCores)];
        using var module = ModuleDefinition.ReadModule(typeof(IommuSim.VtdTables).Assembly.Location, new() { ReadSymbols = true });
        (TypeDefinition Type, string[] Path)[] types =
        [
            .. from type in module.GetTypes()
               from method in type.Methods
               where method.DebugInformation.HasSequencePoints
               select (type, method.DebugInformation.SequencePoints[0].Document.Url.Split('/', '\\')),
        ];
        foreach ((string folder, Func<TypeReference, bool> isOf) in rooms)
        {
            bool IsIn(string[] path) => path.SkipWhile(part => part != Room).Contains(folder);
            Assert.Contains(types, each => IsIn(each.Path));
            Assert.Empty(types.Where(each => IsIn(each.Path) != isOf(Outermost(each.Type))).Select(each => $"{folder}: {each.Type.FullName}").Distinct());
        }
    }

    [Fact]
    public void Both_use_the_same_caches()
    {
        string[] used = [.. Foreign(type => !IsOfMachinery(type), type => type.Name != "TranslationCache`1").Select(line => line.Split(' ')[0]).Distinct()];
        Assert.Contains("IommuSim.Cpu.CpuCore`2", used);
        Assert.Contains("IommuSim.RemappingCaches", used);
    }

    /// <summary>
    /// Who decodes a paging entry that was read: the walk, and the decoder that shows tables to users. A third would be a walk of its own.
    /// </summary>
    [Fact]
    public void The_walk_is_written_once()
    {
        using var module = ModuleDefinition.ReadModule(typeof(IommuSim.VtdTables).Assembly.Location);
        string[] formats = [.. module.GetTypes().Where(IsFormat).Select(type => type.FullName)];
        string[] decoders =
        [
            .. from type in module.GetTypes()
               where !formats.Contains(type.FullName)
               from method in type.Methods
               where method.HasBody
               from instruction in method.Body.Instructions
               where instruction.Operand is MethodReference { Name: "From" or ".ctor" } made
                   && (formats.Contains(made.DeclaringType.FullName) || IsEntry(made.DeclaringType))
               group type by Outermost(type).FullName into types
               orderby types.Key
               select types.Key,
        ];
        Assert.Equal(["IommuSim.Cpu.CpuPagingEntry", "IommuSim.ScalableMode.FirstStageEntry", "IommuSim.SecondStageEntry"], formats.Order());
        Assert.Equal(["IommuSim.Machinery.TableWalk`3", "IommuSim.VtdTables"], decoders);

        static bool IsEntry(TypeReference type) => type.GetElementType().Name == "IPagingEntry`1";
        static bool IsFormat(TypeDefinition type) => type.IsValueType && type.Interfaces.Any(each => IsEntry(each.InterfaceType));
    }

    [Fact]
    public void The_rules_see_what_they_forbid()
    {
        string[] found = [.. Foreign(type => type.Name == "RemappingCaches", IsOfMachinery)];
        // A field, a parameter, and what only an instruction names.
        Assert.Contains("IommuSim.RemappingCaches knows IommuSim.ContextCache", found);
        Assert.Contains("IommuSim.RemappingCaches knows IommuSim.VtdDomainId", found);
        Assert.Contains("IommuSim.RemappingCaches knows IommuSim.VtdTags", found);
    }

    /// <summary>Which of the looked-at types know which of the room that they may not.</summary>
    private static string[] Foreign(Func<TypeReference, bool> isLookedAt, Func<TypeReference, bool> mayBeKnown)
    {
        using var module = ModuleDefinition.ReadModule(typeof(IommuSim.VtdTables).Assembly.Location);
        return
        [
            .. from type in module.GetTypes()
               where isLookedAt(Outermost(type))
               from known in Known(type).SelectMany(Parts).Select(Outermost)
               where IsOfRoom(known) && !mayBeKnown(known) && known.FullName != Outermost(type).FullName
               let line = $"{Outermost(type).FullName} knows {known.FullName}"
               group line by line into lines
               orderby lines.Key
               select lines.Key,
        ];
    }

    private static bool IsOfMachinery(TypeReference type) => type.Namespace == Machinery || (type.Namespace == Room && Shown.Contains(type.Name));

    private static bool IsOfDevices(TypeReference type) => type.Namespace == Devices || (type.Namespace == Room && ShownDevices.Contains(type.Name));

    private static bool IsOfCores(TypeReference type) => type.Namespace == Cores;

    private static bool IsOfRoom(TypeReference type) => type.Namespace == Room || type.Namespace.StartsWith(Room + ".", StringComparison.Ordinal);

    private static TypeReference Outermost(TypeReference type) => type.DeclaringType is null ? type : Outermost(type.DeclaringType);

    private static IEnumerable<TypeReference> Known(TypeDefinition type)
    {
        IEnumerable<TypeReference?> own =
        [
            type.BaseType,
            .. type.Interfaces.Select(each => each.InterfaceType),
            .. Constraints(type),
            .. type.CustomAttributes.Select(each => each.AttributeType),
            .. type.Fields.Select(each => each.FieldType),
            .. type.Properties.Select(each => each.PropertyType),
            .. type.Events.Select(each => each.EventType),
        ];
        return own.Concat(type.Methods.SelectMany(Known)).OfType<TypeReference>();
    }

    private static IEnumerable<TypeReference?> Known(MethodDefinition method)
    {
        IEnumerable<TypeReference?> signature = [method.ReturnType, .. method.Parameters.Select(each => each.ParameterType), .. Constraints(method)];
        if (!method.HasBody) return signature;
        return signature
            .Concat(method.Body.Variables.Select(each => each.VariableType))
            .Concat(method.Body.ExceptionHandlers.Select(each => each.CatchType))
            .Concat(method.Body.Instructions.SelectMany(Named));
    }

    private static IEnumerable<TypeReference> Constraints(IGenericParameterProvider of) =>
        of.GenericParameters.SelectMany(each => each.Constraints).Select(each => each.ConstraintType);

    private static IEnumerable<TypeReference> Named(Instruction instruction) => instruction.Operand switch
    {
        TypeReference type => [type],
        FieldReference field => [field.DeclaringType, field.FieldType],
        GenericInstanceMethod method => [method.DeclaringType, method.ReturnType, .. method.GenericArguments, .. method.Parameters.Select(each => each.ParameterType)],
        MethodReference method => [method.DeclaringType, method.ReturnType, .. method.Parameters.Select(each => each.ParameterType)],
        _ => [],
    };

    /// <summary>What a type is made of: of an array its elements, of a generic one its arguments.</summary>
    private static IEnumerable<TypeReference> Parts(TypeReference type) => type switch
    {
        GenericInstanceType generic => [generic.ElementType, .. generic.GenericArguments.SelectMany(Parts)],
        GenericParameter => [],
        TypeSpecification specification => Parts(specification.ElementType),
        _ => [type],
    };
}
