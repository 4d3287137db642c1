using Mono.Cecil;

namespace Properties.House.Locks;

/// <summary>A lock of an assembly: the field that holds the object, or the class whose objects are locked themselves.</summary>
internal sealed record Gate(string Name, int? Rank);

/// <summary>Something that the order allows beyond itself.</summary>
/// <param name="Rank">Of which locks; null: of all.</param>
/// <param name="In">By which method alone, as <see cref="Names.Of(MethodReference)"/>; null: by any.</param>
/// <param name="What">Of callbacks: the type.</param>
internal sealed record Allowance(string Kind, int? Rank, string? In, string? What)
{
    public bool IsUsed { get; set; }

    public override string ToString() => $"{Kind}{(What is null ? "" : $" {What}")}{(In is null ? "" : $" in {In}")}";
}

/// <summary>What an assembly says of its locks: its types <c>LockRank</c> and <c>LockRankAttribute</c>, read by name.</summary>
internal sealed class LockRanks
{
    private readonly Dictionary<string, Gate> _gates = [];
    private readonly Dictionary<int, string> _names = [];
    private readonly List<Allowance> _allowances = [];

    /// <param name="types">The types that are looked at.</param>
    public LockRanks(IReadOnlyCollection<TypeDefinition> types)
    {
        TypeDefinition order = types.Single(type => type.IsEnum && type.Name == "LockRank");
        foreach (CustomAttribute attribute in order.CustomAttributes.Where(attribute => attribute.AttributeType.Name == "RunsUnderLocksAttribute"))
            _allowances.Add(new("RunsUnderLocks", null, null, Names.Of((TypeReference)attribute.ConstructorArguments[0].Value)));
        foreach (FieldDefinition rank in order.Fields.Where(field => field.HasConstant))
        {
            int value = (int)rank.Constant;
            _names[value] = rank.Name;
            foreach (CustomAttribute attribute in rank.CustomAttributes)
            {
                string kind = attribute.AttributeType.Name.Replace("Attribute", "", StringComparison.Ordinal);
                string? only = attribute.Properties.Where(property => property.Name == "In").Select(property => (string?)property.Argument.Value).SingleOrDefault();
                _allowances.Add(new(kind, value, only, null));
            }
        }
    }

    public IReadOnlyList<Allowance> Allowances => _allowances;

    public IReadOnlyCollection<Gate> Known => _gates.Values;

    /// <summary>Ranks that no lock was seen to have.</summary>
    public IEnumerable<string> Unused => _names.Where(name => _gates.Values.All(gate => gate.Rank != name.Key)).Select(name => name.Value);

    public string NameOf(Gate gate) => gate.Rank is { } rank ? _names[rank] : "no rank";

    public Gate GateOf(FieldDefinition field) => GateOf(Names.Of(field), field);

    public Gate GateOf(TypeDefinition type) => GateOf(Names.Of(type), type);

    public bool Allows(string kind, int? rank, string? method, string? what = null)
    {
        // The narrowest counts as used.
        Allowance? found = _allowances
            .Where(allowed => allowed.Kind == kind && allowed.Rank == rank && allowed.What == what && (allowed.In is null || allowed.In == method))
            .OrderBy(allowed => allowed.In is null)
            .FirstOrDefault();
        if (found is not null) found.IsUsed = true;
        return found is not null;
    }

    private Gate GateOf(string name, ICustomAttributeProvider place)
    {
        if (_gates.TryGetValue(name, out Gate? known)) return known;
        CustomAttribute? rank = place.CustomAttributes.SingleOrDefault(attribute => attribute.AttributeType.Name == "LockRankAttribute");
        return _gates[name] = new(name, rank is null ? null : (int)rank.ConstructorArguments[0].Value);
    }
}

/// <summary>Names as they stand in the source, as far as the compiler left them.</summary>
internal static class Names
{
    public static string Of(FieldReference field) => $"{Of(field.DeclaringType)}.{field.Name}";

    /// <summary><c>Vcm.TryMap</c>; what the compiler made of a lambda or an iterator has the name of the method around it.</summary>
    public static string Of(MethodReference method)
    {
        TypeReference type = method.DeclaringType;
        string name = method.Name;
        string suffix = "";
        while (type.DeclaringType is not null && type.Name.StartsWith('<'))
        {
            if (type.Name is ['<', not '>', ..]) (name, suffix) = (type.Name, " (iterator)");
            type = type.DeclaringType;
        }

        int end = name.IndexOf('>', StringComparison.Ordinal);
        if (name.StartsWith('<') && end > 1)
        {
            if (suffix.Length == 0) suffix = name.Contains(">g__", StringComparison.Ordinal) ? " (local function)" : " (lambda)";
            name = name[1..end];
        }

        // Explicit implementations carry the interface's name before their own.
        name = name is ".ctor" or ".cctor" ? name : name[(name.LastIndexOf('.') + 1)..];
        return $"{Of(type)}.{name}{suffix}";
    }

    public static string Of(TypeReference type)
    {
        if (type is GenericInstanceType generic) return $"{Of(generic.ElementType)}<{string.Join(", ", generic.GenericArguments.Select(Of))}>";
        if (type is ArrayType array) return $"{Of(array.ElementType)}[]";
        int arity = type.Name.IndexOf('`', StringComparison.Ordinal);
        return arity < 0 ? type.Name : type.Name[..arity];
    }
}
