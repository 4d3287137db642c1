using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Properties.House.Locks;

/// <summary>Where a call may go, as far as that is inside the types that are looked at, and what outside it may be.</summary>
/// <remarks>
/// <para>Interface and virtual calls go to every implementation inside. Calls of a delegate go to every lambda and method group that
/// was made into a delegate of that type anywhere inside; making one counts as a call too, for code outside (sorting, searching,
/// LINQ) may call it at once. What code outside keeps and calls later is not followed.</para>
/// <para>Making an iterator counts as running it, and so does each step through the interface. Interpolating an object counts as
/// <c>ToString</c>; a generic type or method outside that gets a type inside may compare and hash it.</para>
/// </remarks>
internal sealed class CallTargets
{
    private static readonly string[] Compared = ["Equals", "GetHashCode", "CompareTo"];

    private readonly IReadOnlyCollection<TypeDefinition> _types;
    private readonly HashSet<string> _inside;
    private readonly List<(TypeReference Delegate, MethodDefinition Target)> _delegates = [];
    private readonly HashSet<string> _handedIn = [];
    private readonly string[] _callbackInterfaces;

    /// <param name="types">The types inside.</param>
    /// <param name="callbackInterfaces">Interfaces inside that are no ports: users implement them to be called back.</param>
    public CallTargets(IReadOnlyCollection<TypeDefinition> types, string[] callbackInterfaces)
    {
        _types = types;
        _callbackInterfaces = callbackInterfaces;
        _inside = [.. types.Select(type => type.FullName)];
        foreach (MethodDefinition method in types.SelectMany(type => type.Methods).Where(method => method.HasBody))
        {
            foreach (Instruction instruction in method.Body.Instructions)
            {
                if (DelegateMadeBy(instruction, out TypeReference? type, out MethodDefinition? target)) _delegates.Add((type!, target!));
            }
        }

        foreach (TypeDefinition type in types.Where(IsPublic))
        {
            foreach (MethodDefinition method in type.Methods.Where(method => method.IsPublic))
            {
                foreach (ParameterDefinition parameter in method.Parameters.Where(parameter => !parameter.IsOut)) HandIn(parameter.ParameterType);
            }
        }
    }

    /// <summary>The methods inside that an instruction may run.</summary>
    public IEnumerable<MethodDefinition> Of(Instruction instruction)
    {
        if (DelegateMadeBy(instruction, out _, out MethodDefinition? made)) return IsInside(made!.DeclaringType) ? [made] : [];
        if (instruction.OpCode.Code is Code.Ldsfld or Code.Ldsflda or Code.Stsfld) return InitializerOf(((FieldReference)instruction.Operand).DeclaringType);
        if (instruction.OpCode.Code is not (Code.Call or Code.Callvirt or Code.Newobj)) return [];
        var called = (MethodReference)instruction.Operand;
        return [.. CalledBy(instruction, called).Concat(Compares(called)).Distinct()];
    }

    /// <summary>The name of what users handed in, if an instruction may call it; null: it does not.</summary>
    public string? CallbackOf(Instruction instruction)
    {
        if (instruction.OpCode.Code is not (Code.Call or Code.Callvirt) || instruction.Operand is not MethodReference { HasThis: true } called) return null;
        TypeReference type = called.DeclaringType;
        if (_callbackInterfaces.Contains(Names.Of(type))) return Names.Of(type);
        if (IsDelegate(type) && called.Name != "Invoke") return null;
        return _handedIn.Contains(Names.Of(type)) ? Names.Of(type) : null;
    }

    private IEnumerable<MethodDefinition> CalledBy(Instruction instruction, MethodReference called)
    {
        if (IsDelegate(called.DeclaringType) && called.Name == "Invoke")
            return _delegates.Where(made => Fits(made.Delegate, called.DeclaringType)).Select(made => made.Target).Where(target => IsInside(target.DeclaringType));
        if (called.DeclaringType.Name.StartsWith("DefaultInterpolatedStringHandler", StringComparison.Ordinal) && called is GenericInstanceMethod formatted)
            return Overriding(formatted.GenericArguments[0], ["ToString"]);
        if (called.Name == "Start" && called is GenericInstanceMethod { GenericArguments: [var machine] } && called.DeclaringType.Name.Contains("MethodBuilder", StringComparison.Ordinal))
            return Overriding(machine, ["MoveNext"]);
        IEnumerable<MethodDefinition> targets = [];
        if (IsInside(called.DeclaringType) && called.Resolve() is { } method)
        {
            targets = [method, .. method.IsStatic || method.IsConstructor ? InitializerOf(called.DeclaringType) : []];
            if (method.IsConstructor && method.DeclaringType.Interfaces.Any(implemented => implemented.InterfaceType.Name == "IEnumerator"))
                targets = targets.Concat(method.DeclaringType.Methods.Where(step => step.Name == "MoveNext"));
        }

        bool isVirtual = instruction.OpCode.Code == Code.Callvirt || instruction.Previous?.OpCode.Code == Code.Constrained;
        return isVirtual ? targets.Concat(Implementing(called)) : targets;
    }

    private IEnumerable<MethodDefinition> Implementing(MethodReference called)
    {
        string declaring = called.DeclaringType.GetElementType().FullName;
        // What is said of objects in general is said of everything.
        if (declaring is "System.Object" or "System.ValueType") return [];
        return from type in _types
               where Ancestors(type).Any(ancestor => ancestor.GetElementType().FullName == declaring)
               from method in type.Methods
               where IsImplementation(method, called, declaring)
               select method;
    }

    private static bool IsImplementation(MethodDefinition method, MethodReference called, string declaring)
    {
        if (method.Parameters.Count != called.Parameters.Count || method.IsConstructor) return false;
        if (method.Overrides.Any(overridden => overridden.Name == called.Name && overridden.DeclaringType.GetElementType().FullName == declaring)) return true;
        return method.Name == called.Name;
    }

    private IEnumerable<TypeReference> Ancestors(TypeDefinition type)
    {
        foreach (InterfaceImplementation implemented in type.Interfaces) yield return implemented.InterfaceType;
        // A base class may implement the interface of a class that derives from it.
        foreach (TypeDefinition derived in _types.Where(candidate => candidate.BaseType?.GetElementType().FullName == type.FullName))
        {
            foreach (InterfaceImplementation implemented in derived.Interfaces) yield return implemented.InterfaceType;
        }

        for (TypeReference? parent = type.BaseType; parent is not null; parent = IsInside(parent) ? parent.Resolve()?.BaseType : null) yield return parent;
    }

    private IEnumerable<MethodDefinition> Compares(MethodReference called)
    {
        if (IsInside(called.DeclaringType)) return [];
        IEnumerable<TypeReference> arguments = called.DeclaringType is GenericInstanceType type ? type.GenericArguments : [];
        if (called is GenericInstanceMethod method) arguments = arguments.Concat(method.GenericArguments);
        return arguments.SelectMany(argument => Overriding(argument, Compared));
    }

    private IEnumerable<MethodDefinition> Overriding(TypeReference type, string[] names) =>
        IsInside(type) && type.Resolve() is { } found ? found.Methods.Where(method => method.HasBody && names.Contains(method.Name)) : [];

    private IEnumerable<MethodDefinition> InitializerOf(TypeReference type) =>
        IsInside(type) && type.Resolve() is { } found ? found.Methods.Where(method => method.IsConstructor && method.IsStatic) : [];

    private bool IsInside(TypeReference type) => _inside.Contains(type.GetElementType().FullName);

    private static bool IsPublic(TypeDefinition type) => type.IsPublic || (type.IsNestedPublic && IsPublic(type.DeclaringType));

    private static bool IsDelegate(TypeReference type) => type.Resolve()?.BaseType?.FullName == "System.MulticastDelegate";

    /// <summary>Delegates, and interfaces and open classes of the runtime. Interfaces of the rooms are ports.</summary>
    private void HandIn(TypeReference type)
    {
        if (type is ByReferenceType or ArrayType or GenericParameter) return;
        if (type.Resolve() is not { } found || found.FullName == "System.Object") return;
        bool isOpen = found.IsInterface || (found.IsAbstract && !found.IsSealed);
        bool isOfRuntime = found.Namespace.StartsWith("System", StringComparison.Ordinal);
        if (IsDelegate(type) || (isOpen && isOfRuntime)) _handedIn.Add(Names.Of(type));
    }

    private static bool DelegateMadeBy(Instruction instruction, out TypeReference? type, out MethodDefinition? target)
    {
        type = null;
        target = null;
        if (instruction.OpCode.Code != Code.Newobj || instruction.Previous is not { OpCode.Code: Code.Ldftn or Code.Ldvirtftn } pointer) return false;
        type = ((MethodReference)instruction.Operand).DeclaringType;
        target = ((MethodReference)pointer.Operand).Resolve();
        return target is not null;
    }

    /// <summary>Whether one may be the other where type parameters stand for anything.</summary>
    private static bool Fits(TypeReference a, TypeReference b)
    {
        if (a is GenericParameter || b is GenericParameter) return true;
        if (a.GetElementType().FullName != b.GetElementType().FullName) return false;
        return a is not GenericInstanceType left || b is not GenericInstanceType right || left.GenericArguments.Zip(right.GenericArguments, Fits).All(fits => fits);
    }
}
